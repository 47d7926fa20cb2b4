"""Record many keys from a CSV or a .env file that comes by standard input."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from keyvault import importing, inventory, key_files
from keyvault.cli import DoorCommand, Error, acting_member, add_by, find, table, wrong_usage
from keyvault.importing import Defaults, Fate
from keyvault.models import Member
from keyvault.permissions import visible_applications

_MOST_BYTES = 4 * 1024 * 1024


class Command(DoorCommand):
    help = (
        "Record the keys of a CSV or .env file (standard input); without --yes it only says what "
        "would become of each."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", default="", help="For rows that name none.")
        parser.add_argument("--environment", default="", help="For rows that name none.")
        parser.add_argument("--application", default="", help="For rows that name none.")
        parser.add_argument("--yes", action="store_true", help="Do it.")
        parser.add_argument(
            "--unchecked",
            action="store_true",
            help="Record even if the vendor cannot be asked now; a refused key never is.",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        text = key_files.decode(_input())
        fates = importing.run(
            by, text, _defaults(by, options), really=options["yes"], unchecked=options["unchecked"]
        )
        bad = sum(one.state == "bad" for one in fates)
        told = {"rows": [vars(one) for one in fates], "bad": bad}
        self.say(options, told, _text(fates, bad, done=options["yes"]))
        if bad and options["yes"]:
            raise Error(f"{bad} rows were not recorded.", code="rows_refused")


def _input() -> bytes:
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise wrong_usage("More than 4 MB came in on standard input. Nothing was stored.")
    return data


def _defaults(by: Member, options: dict[str, Any]) -> Defaults:
    return Defaults(
        account=_found(inventory.visible_accounts(by), options, "account"),
        environment=_found(inventory.visible_environments(by), options, "environment"),
        application=_found(visible_applications(by), options, "application"),
    )


def _text(fates: list[Fate], bad: int, *, done: bool) -> str:
    rows = [(one.line, one.name, one.state, one.text) for one in fates]
    end = f"{len(fates) - bad} of {len(fates)} rows are good."
    more = "" if done else " Nothing was stored: add --yes."
    return table(("line", "name", "fate", "why"), rows) + f"\n{end}{more}"


def _found(rows: Any, options: dict[str, Any], what: str) -> Any:
    return find(rows, options[what], what) if options[what] else None
