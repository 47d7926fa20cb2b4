"""Sign the head of the chain once a minute, so that even a rewrite of the whole log shows.

A checkpoint is a line of JSON that names the last row's number and hash and the checkpoint before
it, signed with Ed25519. It is kept in the database, where the app may add but not change it, and,
if AUDIT_EXPORT_DIR is set, appended to a file there that belongs on another machine.
"""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections, transaction

from keyvault.audit import sinks
from keyvault.audit.export import json_line
from keyvault.audit.models import ChainHead, Checkpoint
from keyvault.audit.signing import public_keys, signed_by, signer
from keyvault.audit.verify import Anchor, archived_up_to, rows

EXPORT_NAME = "audit-checkpoints.jsonl"
_LAST_BYTES = 8192
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signed:
    """One checkpoint as it is stored and exported: the signed text and its signature in base64."""

    text: str
    signature: str

    def line(self) -> str:
        """Return the export line."""
        return json.dumps({"text": self.text, "signature": self.signature})


def public_key() -> str:
    """Return the public key in base64, to be kept where the log is verified."""
    return signer().public_key()


def sign_checkpoint() -> Checkpoint | None:
    """Sign the chain's head if it moved since the last checkpoint; returns the new one, or None."""
    with transaction.atomic(using="audit"):
        with connections["audit"].cursor() as cursor:
            # Two schedulers must not both follow the same checkpoint.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('audit checkpoint'))")
        checkpoint = _seal()
    if checkpoint:
        _export(Signed(checkpoint.text, checkpoint.signature))
    sinks.send_all()
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
    signature = signer().sign(text)
    return Checkpoint.objects.using("audit").create(seq=head.seq, text=text, signature=signature)


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(f"{checkpoint.text}\n{checkpoint.signature}".encode()).hexdigest()


def _export(signed: Signed) -> None:
    """Append the line durably; the file is only ever added to."""
    path = _export_path()
    if path is None:
        return
    # guard: an export that is ahead is not written over
    if export_is_ahead():
        # Written further, the file would no longer show that the database is older than it.
        log.error("the exported checkpoints are ahead of the log: nothing is added to them")
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(signed.line() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _export_path() -> Path | None:
    folder = settings.AUDIT_EXPORT_DIR
    return Path(folder) / EXPORT_NAME if folder else None


def holds(seq: int, row_hash: str) -> bool:
    """Return whether the log has this row with this hash (in hex); rows of archived months count."""
    if seq < archived_up_to().seq:
        return True
    return _row_hash(seq) == row_hash


def export_is_ahead() -> bool:
    """Return whether the last exported checkpoint names a row that the log does not have."""
    path = _export_path()
    try:
        lines = _last_bytes(path).splitlines() if path else []
        if not lines:
            return False
        said = json.loads(json.loads(lines[-1])["text"])
        return not holds(int(said["seq"]), str(said["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False  # none yet, or a line that a full disk cut off


def _last_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LAST_BYTES))
        return file.read()


def begin_export_anew() -> None:
    """After a restore that was settled: put the file aside, under a name that says until when."""
    path = _export_path()
    if path and export_is_ahead():
        path.rename(path.with_name(f"{path.stem}-until-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"))


def anchor(public: str, checkpoint_id: int | None = None) -> Anchor:
    """Return the place in the chain that a signed checkpoint names: the last one, or the one given.

    Raises LookupError when there is none or its signature does not fit `public`.
    """
    known = Checkpoint.objects.using("audit").order_by("-pk")
    chosen = (known.filter(pk=checkpoint_id) if checkpoint_id is not None else known).first()
    if chosen is None:
        raise LookupError("There is no such checkpoint.")
    if not signed_by(public, chosen.text, chosen.signature):
        raise LookupError(f"The signature of checkpoint {chosen.pk} does not fit.")
    said = json.loads(chosen.text)
    return Anchor(int(said["seq"]), bytes.fromhex(said["hash"]))


def proof(seq: int) -> dict[str, Any]:
    """Return what proves one row: the rows from it to the next checkpoint, and that checkpoint.

    Anyone with the public key can check it without the database; LookupError when the row is not
    there or not signed yet.
    """
    after = Checkpoint.objects.using("audit").filter(seq__gte=seq).order_by("seq", "pk").first()
    if after is None:
        raise LookupError(f"Row #{seq} is not covered by a signed checkpoint yet: wait a minute.")
    found = [json.loads(json_line(row)) for row in rows(seq - 1, after.seq)]
    if not found or found[0]["seq"] != seq:
        raise LookupError(f"There is no row #{seq} here; it may be in an archived month.")
    return {"rows": found, "checkpoint": {"text": after.text, "signature": after.signature}}


def problem(public: str, exported: Path | None = None) -> str:
    """Return what is wrong with the checkpoints, or an empty text.

    Checks each signature against the public key `public` (base64), the links, that each fits the
    row it names, and, with `exported`, that every exported checkpoint is still in the database.
    """
    public_keys(public)
    end = archived_up_to()
    previous: Checkpoint | None = None
    for checkpoint in Checkpoint.objects.using("audit").order_by("pk").iterator():
        wrong = _wrong(public, checkpoint, previous, end)
        if wrong:
            return f"checkpoint {checkpoint.pk}: {wrong}"
        previous = checkpoint
    return _missing(exported) if exported else ""


def _wrong(public: str, checkpoint: Checkpoint, previous: Checkpoint | None, end: Anchor) -> str:
    if not signed_by(public, checkpoint.text, checkpoint.signature):
        return "its signature does not fit"
    said: dict[str, Any] = json.loads(checkpoint.text)
    if said["previous"] != (_digest(previous) if previous else ""):
        return "it does not follow the one before it"
    if checkpoint.seq < end.seq and said["seq"] == checkpoint.seq:
        return ""  # its row was archived: the archive's own verification compares them
    known = end.hash.hex() if checkpoint.seq == end.seq else _row_hash(checkpoint.seq)
    if said["seq"] != checkpoint.seq or said["hash"] != known:
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
