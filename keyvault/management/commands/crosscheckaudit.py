"""Compare Vault's own audit log with ours; exit 1 when a secret was read behind our back."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from keyvault.management.base import ServiceCommand, table, wrong_usage
from rotation.monitoring.vault_reads import run


class Command(ServiceCommand):
    help = "Compare Vault's audit log with ours, in both directions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="Vault's audit log: JSON Lines.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = run(options["file"])
        except OSError as error:
            raise wrong_usage(f"{options['file']} cannot be read: {error.strerror}.") from None
        found = [vars(one) for one in report.findings]
        answer = {"reads": report.reads, "odd_lines": report.odd_lines, "findings": found}
        names = ("kind", "at", "what", "who")
        rows = ([one[name] for name in names] for one in found)
        told = table([name.capitalize() for name in names], rows, empty="Both logs fit.")
        self.say(options, answer, f"{told}\n{report.reads} reads of secrets compared.")
        sys.exit(any(one.kind != "unseen" for one in report.findings))
