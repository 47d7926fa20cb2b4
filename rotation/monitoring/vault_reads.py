"""The nightly comparison of Vault's audit log with ours; what does not fit becomes a person's task."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.crosscheck import Report, compare
from keyvault.audit.log import record
from keyvault.audit.models import Action
from rotation.human_tasks import open_alert
from rotation.models import HumanTask

log = logging.getLogger(__name__)
_NIGHTLY = timedelta(days=2)


def nightly() -> None:
    """Compare the last two days, where this process can read Vault's log."""
    if not settings.VAULT_AUDIT_LOG:
        return
    try:
        run(Path(settings.VAULT_AUDIT_LOG), since=timezone.now() - _NIGHTLY)
    except OSError as error:
        log.warning("vault audit log not readable", extra={"reason": type(error).__name__})


def run(file: Path, since: datetime | None = None) -> Report:
    """Compare a file of Vault's audit log with ours, record it, and tell people what does not fit.

    Raises OSError when the file cannot be read.
    """
    report = compare(_lines(file), since)
    actor = system_actor("comparison with Vault's audit log")
    behind = [one for one in report.findings if one.kind != "unseen"]
    for one in behind:
        text = (
            f"A secret was read in Vault {_WORDS[one.kind]}: {one.what}, "
            f"{one.at:%Y-%m-%d %H:%M:%S} UTC, by {one.who}. Find out who did it, and rotate the key."
        )
        about = f"vault-read:{one.kind}:{one.what}:{one.at:%Y%m%d%H%M}"[:200]
        open_alert(actor, HumanTask.Kind.FINDING, about, text)
    record(
        Action.AUDIT_COMPARED,
        actor,
        reads=report.reads,
        behind_our_back=len(behind),
        unseen=len(report.findings) - len(behind),
    )
    return report


_WORDS = {
    "foreign": "behind our back, by a request that is not ours",
    "unrecorded": "by our web process without a row in our audit log",
}


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as text:
        yield from text
