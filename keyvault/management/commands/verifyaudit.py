"""Recompute the audit chain; exit 0 when every row fits, 1 with the first row that does not.

The signed checkpoints are checked too where the public key is known: from --public-key, kept away
from this machine at best, or from the signing key if this process has it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import CommandParser

from keyvault.audit import checkpoints, signing
from keyvault.audit.verify import Anchor, Report, verify
from keyvault.management.base import Error, ServiceCommand, wrong_usage

T = TypeVar("T")


class Command(ServiceCommand):
    help = "Recompute the audit chain and name the first bad row, if there is one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--public-key",
            metavar="BASE64",
            help="Check the signed checkpoints against it; several with commas.",
        )
        parser.add_argument(
            "--exported", type=Path, metavar="FILE", help="Checkpoints kept on another machine."
        )

        parser.add_argument(
            "--since-checkpoint",
            nargs="?",
            const=0,
            type=int,
            metavar="ID",
            help="Only the rows after this signed checkpoint (without ID: after the last one).",
        )
        parser.add_argument(
            "--proof",
            type=int,
            metavar="SEQ",
            help="Print what proves this one row to anyone who has the public key, as JSON.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        public = _public_key(options)
        if options["proof"] is not None:
            return self.stdout.write(json.dumps(_found(checkpoints.proof, options["proof"])))
        report = verify(_anchor(public, options["since_checkpoint"]))
        answer = _answer(report)
        if not report.ok:
            said = f"The audit log is broken at row #{report.bad_seq}: {report.problem}."
            raise Error(said, code="audit_broken", details=answer)
        trouble = _checkpoint_problem(public, options["exported"]) if public else ""
        if trouble:
            said = f"The audit log does not fit what was signed: {trouble}."
            raise Error(said, code="checkpoint_broken", details={**answer, "ok": False})
        told = f"Audit verified: {report.rows} rows, to #{report.last_seq}"
        signed = ", and every signed checkpoint fits." if public else "."
        self.say(options, {**answer, "checkpoints": bool(public)}, told + signed)


def _anchor(public: str, checkpoint_id: int | None) -> Anchor | None:
    if checkpoint_id is None:
        return None
    if not public:
        raise wrong_usage("--since-checkpoint needs --public-key: what it trusts is the signature.")
    return _found(checkpoints.anchor, public, checkpoint_id or None)


def _found(look: Callable[..., T], *what: Any) -> T:
    try:
        return look(*what)
    except LookupError as error:
        raise Error(str(error), code="not_found") from None


def _public_key(options: dict[str, Any]) -> str:
    public = options["public_key"] or ""
    try:
        public = public or (checkpoints.public_key() if signing.is_set() else "")
    except signing.NoSigningKey as error:
        raise wrong_usage(str(error)) from None
    if options["exported"] and not public:
        raise wrong_usage("--exported needs --public-key: signatures are checked against it.")
    return str(public)


def _checkpoint_problem(public: str, exported: Path | None) -> str:
    try:
        return checkpoints.problem(public, exported)
    except OSError as error:
        raise wrong_usage(f"{exported} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError):
        raise wrong_usage(
            "The public key is not an Ed25519 key in base64, or the exported file is no "
            "list of checkpoints."
        ) from None


def _answer(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "rows": report.rows,
        "last_seq": report.last_seq,
        "bad_seq": report.bad_seq,
        "problem": report.problem,
    }
