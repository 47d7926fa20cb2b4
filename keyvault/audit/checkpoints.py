"""Sign the head of the chain once a minute, so that even a rewrite of the whole log shows.

A checkpoint is a line of JSON that names the last row's number and hash and the checkpoint before
it, signed with Ed25519. It is kept in the database, where the app may add but not change it, and,
if AUDIT_EXPORT_DIR is set, appended to a file there that belongs on another machine.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import connections, transaction

from keyvault.audit.models import ChainHead, Checkpoint

EXPORT_NAME = "audit-checkpoints.jsonl"
_SEED_BYTES = 32


class NoSigningKey(Exception):
    """AUDIT_SIGNING_KEY is missing or is not 32 bytes in base64."""


@dataclass(frozen=True)
class Signed:
    """One checkpoint as it is stored and exported: the signed text and its signature in base64."""

    text: str
    signature: str

    def line(self) -> str:
        """Return the export line."""
        return json.dumps({"text": self.text, "signature": self.signature})


def signing_key() -> Ed25519PrivateKey:
    """Return the key that AUDIT_SIGNING_KEY holds; raises NoSigningKey."""
    try:
        seed = base64.b64decode(settings.AUDIT_SIGNING_KEY, validate=True)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise NoSigningKey("AUDIT_SIGNING_KEY must be 32 random bytes in base64.")
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_key() -> str:
    """Return the public key in base64, to be kept where the log is verified."""
    raw = signing_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def seal() -> Checkpoint | None:
    """Sign the chain's head if it moved since the last checkpoint; returns the new one, or None."""
    with transaction.atomic(using="audit"):
        with connections["audit"].cursor() as cursor:
            # Two schedulers must not both follow the same checkpoint.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('audit checkpoint'))")
        checkpoint = _seal()
    if checkpoint:
        _export(Signed(checkpoint.text, checkpoint.signature))
    return checkpoint


def _seal() -> Checkpoint | None:
    head = ChainHead.objects.using("audit").get(pk=1)
    last = Checkpoint.objects.using("audit").order_by("-pk").first()
    if last and last.seq == head.seq:
        return None
    text = json.dumps(
        {
            "v": 1,
            "seq": head.seq,
            "hash": bytes(head.hash).hex(),
            "at": datetime.now(UTC).isoformat(),
            "previous": _digest(last) if last else "",
        }
    )
    signature = base64.b64encode(signing_key().sign(text.encode())).decode()
    return Checkpoint.objects.using("audit").create(seq=head.seq, text=text, signature=signature)


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(f"{checkpoint.text}\n{checkpoint.signature}".encode()).hexdigest()


def _export(signed: Signed) -> None:
    """Append the line durably; the file is only ever added to."""
    if not settings.AUDIT_EXPORT_DIR:
        return
    path = Path(settings.AUDIT_EXPORT_DIR) / EXPORT_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(signed.line() + "\n")
        file.flush()
        os.fsync(file.fileno())


def problem(public: str, exported: Path | None = None) -> str:
    """Return what is wrong with the checkpoints, or an empty text.

    Checks each signature against the public key `public` (base64), the links, that each fits the
    row it names, and, with `exported`, that every exported checkpoint is still in the database.
    """
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    previous: Checkpoint | None = None
    for checkpoint in Checkpoint.objects.using("audit").order_by("pk").iterator():
        wrong = _wrong(key, checkpoint, previous)
        if wrong:
            return f"checkpoint {checkpoint.pk}: {wrong}"
        previous = checkpoint
    return _missing(exported) if exported else ""


def _wrong(key: Ed25519PublicKey, checkpoint: Checkpoint, previous: Checkpoint | None) -> str:
    try:
        key.verify(base64.b64decode(checkpoint.signature), checkpoint.text.encode())
    except (InvalidSignature, ValueError):
        return "its signature does not fit"
    said: dict[str, Any] = json.loads(checkpoint.text)
    if said["previous"] != (_digest(previous) if previous else ""):
        return "it does not follow the one before it"
    if said["seq"] != checkpoint.seq or said["hash"] != _row_hash(checkpoint.seq):
        return f"row #{said['seq']} is not the one that was signed"
    return ""


def _row_hash(seq: int) -> str:
    if seq == 0:
        return bytes(32).hex()
    with connections["audit"].cursor() as cursor:
        cursor.execute("SELECT encode(hash, 'hex') FROM audit_auditevent WHERE seq = %s", [seq])
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def _missing(exported: Path) -> str:
    known = set(Checkpoint.objects.using("audit").values_list("signature", flat=True))
    for number, line in enumerate(exported.read_text(encoding="utf-8").splitlines(), start=1):
        if json.loads(line)["signature"] not in known:
            return f"the exported checkpoint in line {number} is no longer in the database"
    return ""
