#!/usr/bin/env bash
# What:    an issuer publishes a new signing key (a new `kid`) just after the client read its keys.
# Version: PyJWT 2.15.1 against PyJWT 2.10.1; the issuer is a small server on the loopback.
# Guess:   an unknown `kid` makes PyJWKClient read the keys once more, so a new key works at once.
# Happens: 2.10.1 does that. 2.15.1 does not within 30 seconds of any successful read, the first one
#          included: tokens of the new key are refused, without a call to the issuer. Both go on
#          taking the withdrawn key from their cache. `cooldown_duration=0` brings the old way back.
# Why:     whoever rotates a signing key must publish it half a minute before the first use, also
#          for clients that have only just started; "publish and sign at once" used to work.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/rotate.py" <<'PYTHON'
import http.server
import importlib.metadata as packages
import json
import sys
import threading

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

reads = []
served = {"keys": []}


class Issuer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        reads.append(self.path)
        body = json.dumps(served).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def public(key, kid):
    return {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": "ES256"}


def token(key, kid):
    return jwt.encode({"sub": "sample"}, key, algorithm="ES256", headers={"kid": kid})


def tried(client, text):
    before = len(reads)
    try:
        key = client.get_signing_key_from_jwt(text).key
        answer = jwt.decode(text, key, algorithms=["ES256"])["sub"] == "sample" and "taken"
    except jwt.PyJWTError as error:
        answer = type(error).__name__
    return [answer, len(reads) - before]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
threading.Thread(target=server.serve_forever, daemon=True).start()
old, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
url = f"http://127.0.0.1:{server.server_port}/jwks.json"


def rotation(**options):
    client = jwt.PyJWKClient(url, **options)
    served["keys"] = [public(old, "old")]
    steps = {"old key": tried(client, token(old, "old"))}
    served["keys"] = [public(new, "new")]
    steps["withdrawn key"] = tried(client, token(old, "old"))
    steps["new key"] = tried(client, token(new, "new"))
    return steps


expected = json.loads(sys.argv[1])
seen = {"default": rotation()}
if "cooldown 0" in expected:
    seen["cooldown 0"] = rotation(cooldown_duration=0)
changed = False
for way, steps in seen.items():
    for step, answer in steps.items():
        print(
            f"PyJWT {packages.version('pyjwt')} {way}: {step}: {answer[0]},",
            f"reads of the keys {answer[1]}; expected {expected[way][step]}",
        )
        changed |= answer != expected[way][step]
sys.exit("the behaviour changed" if changed else 0)
PYTHON

run() {
    "${PYTHON:-python3}" -m venv "$folder/$1"
    "$folder/$1/bin/pip" install -q --no-compile --disable-pip-version-check "pyjwt==$1" cryptography==50.0.2 \
        2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
    "$folder/$1/bin/python" "$folder/rotate.py" "$2"
}
at_once='{"old key": ["taken", 1], "withdrawn key": ["taken", 0], "new key": ["taken", 1]}'
waits='{"old key": ["taken", 1], "withdrawn key": ["taken", 0], "new key": ["PyJWKClientError", 0]}'
run 2.10.1 "{\"default\": $at_once}"
run 2.15.1 "{\"default\": $waits, \"cooldown 0\": $at_once}"
