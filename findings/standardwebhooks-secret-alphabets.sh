#!/usr/bin/env bash
# What:    one webhook secret, written in four usual ways, given to the two reference libraries.
# Version: standardwebhooks 1.1.0 (PyPI), standardwebhooks 1.1.1 (npm).
# Guess:   both take the same secrets and sign alike; Python is the stricter one about base64.
# Happens: padding left out: both take it. A line break at the end: Python takes it, npm refuses.
#          The URL-safe alphabet (`-`, `_`): npm refuses, Python says nothing, leaves those
#          characters out and signs with another, shorter key.
#          A signature header with two spaces or a word without a comma: npm passes over it,
#          Python raises ValueError, which is not its own WebhookVerificationError.
# Why:     while a secret is rotated the header carries two signatures, and secrets are made by
#          whatever is at hand: a receiver then fails on one side only, as a wrong signature.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    standardwebhooks==1.1.0 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
npm install --no-audit --no-fund --prefix "$folder" standardwebhooks@1.1.1 \
    >"$folder/npm.log" 2>&1 || { cat "$folder/npm.log"; exit 1; }

cat >"$folder/sign.mjs" <<'NODE'
import { Webhook } from "standardwebhooks";
const { secrets, headers } = JSON.parse(process.argv[2]);
const now = new Date();
const body = '{"a":1}';
const attempt = (make) => { try { return make(); } catch (error) { return error.constructor.name; } };
const right = new Webhook(secrets.plain);
const signature = right.sign("m1", now, body);
const signed = {};
for (const [name, secret] of Object.entries(secrets)) {
  const answer = attempt(() => new Webhook(secret).sign("m1", now, body));
  signed[name] = !answer.startsWith("v1,") ? answer : answer === signature ? "same" : "other key";
}
const verified = {};
for (const [name, header] of Object.entries(headers)) {
  verified[name] = attempt(() => {
    right.verify(body, {
      "webhook-id": "m1",
      "webhook-timestamp": String(Math.floor(now / 1000)),
      "webhook-signature": header.replace("SIGNATURE", signature),
    });
    return "verified";
  });
}
console.log(JSON.stringify({ signed, verified }));
NODE

"$folder/venv/bin/python" - <<'PYTHON'
import base64
import datetime
import importlib.metadata as packages
import json
import subprocess
import sys

from standardwebhooks import Webhook

raw = bytes([0xFF, 0xFE, 0xFB]) * 8 + b"\x01"
plain = base64.b64encode(raw).decode()
secrets = {
    "plain": "whsec_" + plain,
    "no padding": "whsec_" + plain.rstrip("="),
    "line break": "whsec_" + plain + "\n",
    "url-safe": "whsec_" + base64.urlsafe_b64encode(raw).decode(),
}
headers = {
    "one space": "v1,AAAA SIGNATURE",
    "two spaces": "v1,AAAA  SIGNATURE",
    "a word": "none SIGNATURE",
}
expected = {
    "PyPI": {
        "signed": {"plain": "same", "no padding": "same", "line break": "same", "url-safe": "other key"},
        "verified": {"one space": "verified", "two spaces": "ValueError", "a word": "ValueError"},
    },
    "npm": {
        "signed": {"plain": "same", "no padding": "same", "line break": "Error", "url-safe": "Error"},
        "verified": {"one space": "verified", "two spaces": "verified", "a word": "verified"},
    },
}
now = datetime.datetime.now(datetime.timezone.utc)
body = '{"a":1}'


def attempt(make):
    try:
        return make()
    except Exception as error:
        return type(error).__name__


right = Webhook(secrets["plain"])
signature = right.sign("m1", now, body)


def signed(secret):
    answer = attempt(lambda: Webhook(secret).sign("m1", now, body))
    if not answer.startswith("v1,"):
        return answer
    return "same" if answer == signature else "other key"


def verified(header):
    named = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": header.replace("SIGNATURE", signature),
    }
    answer = attempt(lambda: right.verify(body, named))
    return "verified" if answer == {"a": 1} else answer


given = json.dumps({"secrets": secrets, "headers": headers})
node = subprocess.run(["node", "sign.mjs", given], check=True, capture_output=True, text=True, timeout=30)
seen = {
    "PyPI": {
        "signed": {name: signed(secret) for name, secret in secrets.items()},
        "verified": {name: verified(header) for name, header in headers.items()},
    },
    "npm": json.loads(node.stdout),
}
print("standardwebhooks", packages.version("standardwebhooks"), "(PyPI), 1.1.1 (npm)")
for library, answers in seen.items():
    for what, rows in answers.items():
        for name, answer in rows.items():
            print(f"{library:5} {what:9} {name:11} {answer}; expected {expected[library][what][name]}")
sys.exit("the behaviour changed" if seen != expected else 0)
PYTHON
