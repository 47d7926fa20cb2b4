"""Recompute the audit chain; exit 0 when every row fits, 1 with the first row that does not."""

from typing import Any

from keyvault.audit.verify import Report, verify
from keyvault.cli import DoorCommand, Error


class Command(DoorCommand):
    help = "Recompute the audit chain and name the first bad row, if there is one."

    def handle(self, *args: Any, **options: Any) -> None:
        report = verify()
        if not report.ok:
            raise Error(
                f"The audit log is broken at row #{report.bad_seq}: {report.problem}.",
                code="audit_broken",
                details=_answer(report),
            )
        told = f"Audit verified: {report.rows} rows, to #{report.last_seq}."
        self.say(options, _answer(report), told)


def _answer(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "rows": report.rows,
        "last_seq": report.last_seq,
        "bad_seq": report.bad_seq,
        "problem": report.problem,
    }
