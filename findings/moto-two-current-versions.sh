#!/usr/bin/env bash
# What:    AWS Secrets Manager's staging labels, as the emulator moto keeps them.
# Version: moto 5.2.5, boto3 1.44.8.
# Guess:   a staging label is on one version at a time, so there is never more than one AWSCURRENT.
# Happens: after the usual rotation (put as AWSPENDING, move AWSCURRENT to it) the next plain put
#          gives AWSCURRENT to the new version and leaves it on the one before: two are AWSCURRENT,
#          and AWSPREVIOUS stays on the first. Without the move the label is handed on as it should.
# Why:     code that finds the live key by looking for the version with AWSCURRENT gets two; a test
#          against this emulator can pass, or fail, where the service it stands for would not.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    moto==5.2.5 boto3==1.44.8 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

AWS_ACCESS_KEY_ID=sample AWS_SECRET_ACCESS_KEY=sample AWS_DEFAULT_REGION=us-east-1 \
    "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata as packages
import sys

import boto3
from moto import mock_aws

print("moto", packages.version("moto"), "boto3", packages.version("boto3"))


def token(number):
    return str(number) * 32


def labels(*, move, another_pending):
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name="key", SecretString="one", ClientRequestToken=token(1))
        client.put_secret_value(
            SecretId="key", SecretString="two", ClientRequestToken=token(2), VersionStages=["AWSPENDING"]
        )
        if move:
            client.update_secret_version_stage(
                SecretId="key",
                VersionStage="AWSCURRENT",
                MoveToVersionId=token(2),
                RemoveFromVersionId=token(1),
            )
        if another_pending:
            client.put_secret_value(
                SecretId="key", SecretString="three", ClientRequestToken=token(3), VersionStages=["AWSPENDING"]
            )
        client.put_secret_value(SecretId="key", SecretString="four", ClientRequestToken=token(4))
        stages = client.describe_secret(SecretId="key")["VersionIdsToStages"]
        return tuple(
            sorted(int(name[0]) for name, on in stages.items() if label in on)
            for label in ("AWSCURRENT", "AWSPREVIOUS")
        )


cases = [
    ("put pending, put", {"move": False, "another_pending": False}, ([4], [1])),
    ("put pending, move, put", {"move": True, "another_pending": False}, ([2, 4], [1])),
    ("put pending, move, put pending, put", {"move": True, "another_pending": True}, ([2, 4], [1])),
]
changed = False
for name, how, expected in cases:
    seen = labels(**how)
    print(f"{name}: AWSCURRENT on versions {seen[0]}, AWSPREVIOUS on {seen[1]}; expected {expected}")
    changed |= seen != expected
sys.exit("the behaviour changed" if changed else 0)
PYTHON
