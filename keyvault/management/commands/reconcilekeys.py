"""Compare database, Vault and vendors; after a restore, adopt what was forgotten and thaw.

Exit codes: 0 all fits, 1 something does not, 3 something could not be compared.
"""

import sys
from typing import Any

from django.core.management.base import CommandParser

from keyvault.management.base import ServiceCommand, acting_member, add_by, find, table
from keyvault.models import VendorAccount
from rotation.recovery import deletion_lock, restore
from rotation.recovery.findings import Report
from rotation.recovery.reconciliation import reconcile

CLEAN, FOUND, PARTLY = 0, 1, 3


class Command(ServiceCommand):
    help = "Compare what the database, Vault and the vendors hold. Deletes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="Only this vendor account; else everything.")
        parser.add_argument(
            "--adopt", metavar="ID", help="Make a forgotten secret current again, by its finding."
        )
        parser.add_argument(
            "--thaw", action="store_true", help="After a restore: let deletions go on."
        )
        parser.add_argument(
            "--accept",
            action="append",
            default=[],
            metavar="ID",
            help="With --thaw: leave this finding as it is, on your word (may be repeated).",
        )
        parser.add_argument("--reason", default="", help="With --thaw: what happened; on record.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["adopt"]:
            made = restore.adopt(acting_member(options), options["adopt"])
            told = {"key": made.key_id, "version": made.number}
            return self.say(options, told, f"{made} is current now; consumers are told.")
        report = self._report(options)
        self.say(options, _answer(report), _told(report))
        sys.exit(PARTLY if not report.complete else FOUND if report.findings else CLEAN)

    def _report(self, options: dict[str, Any]) -> Report:
        if options["thaw"]:
            return restore.unlock_deletions(
                acting_member(options), options["accept"], options["reason"]
            )
        name = options["account"]
        return reconcile(find(VendorAccount.objects.all(), name, "account") if name else None)


def _answer(report: Report) -> dict[str, Any]:
    return {
        "complete": report.complete,
        "not_compared": report.not_compared,
        "counts": report.counts,
        "frozen": deletion_lock.noticed_reason(),
        "findings": [
            {
                "id": finding.id,
                "kind": finding.kind,
                "what": finding.what,
                "since": finding.since,
                "do": finding.do,
            }
            for finding in report.findings
        ],
    }


def _told(report: Report) -> str:
    rows = [(one.id, one.kind, one.what, one.do) for one in report.findings]
    frozen = deletion_lock.noticed_reason()
    return "\n".join(
        [
            table(("Id", "Kind", "What", "Do"), rows, empty="Everything fits."),
            *(f"Not compared: {what}" for what in report.not_compared),
            *([f"Deletion is frozen: {frozen}"] if frozen else []),
        ]
    )
