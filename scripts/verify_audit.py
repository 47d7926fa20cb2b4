#!/usr/bin/env python3
"""Verify an exported audit log without the service: verify_audit.py FILE... [--public-key BASE64]

FILEs are JSON Lines (also .gz), oldest first, as the console, the API and `archiveaudit` write them,
a proof as `verifyaudit --proof` prints it, or exported checkpoints. Plain Python; signatures need
the package "cryptography". Exit 0 when all fits, 1 with the first line that does not.
"""

import base64
import gzip
import hashlib
import json
import sys


def lines(name):
    """Yield the objects of a file; a proof is one object with rows and a checkpoint."""
    with gzip.open(name, "rt") if name.endswith(".gz") else open(name) as text:
        for line in text:
            said = json.loads(line)
            yield from [*said["rows"], said["checkpoint"]] if "checkpoint" in said else [said]


def need(fits, text):
    """Stop at what does not fit; no assert, which an option of Python would switch off."""
    if not fits:
        raise ValueError(text)


def signed(public, text, signature):
    """Raise if the signature is by none of the public keys (with commas between them)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for one in public.split(","):
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(one))
            return key.verify(base64.b64decode(signature), text.encode())
        except InvalidSignature:
            continue
    raise ValueError("a signature does not fit")


def main(names, public):
    """Follow the chain through all files and hold each checkpoint against it."""
    hashes, last, prev, checkpoints = {}, None, None, 0
    for name in names:
        for said in lines(name):
            if "signature" in said:
                if public:
                    signed(public, said["text"], said["signature"])
                stated = json.loads(said["text"])
                known = hashes.get(stated["seq"])
                need(known in (None, stated["hash"]), f"row #{stated['seq']} was not signed so")
                checkpoints += known is not None
                continue
            seq, before, text = said["seq"], bytes.fromhex(said["prev"]), said["payload"].encode()
            need(last in (None, seq - 1), f"rows between #{last} and #{seq} are missing")
            need(prev in (None, before), f"row #{seq} is not linked to the one before it")
            head = b"\x01" + seq.to_bytes(8, "big", signed=True)
            digest = hashlib.sha256(head + before + text).digest()
            need(digest.hex() == said["hash"], f"row #{seq} was changed")
            need(json.loads(text)["seq"] == seq, f"row #{seq} has another number in its text")
            last, prev, hashes[seq] = seq, digest, said["hash"]
    sys.stdout.write(f"verified: {len(hashes)} rows to #{last}, {checkpoints} checkpoints fit\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    at = given.index("--public-key") if "--public-key" in given else len(given)
    try:
        main(given[:at], given[at + 1] if at < len(given) else "")
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"NOT VERIFIED: {type(error).__name__}: {error}")
