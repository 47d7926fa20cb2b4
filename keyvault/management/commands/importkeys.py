"""Record many keys from a CSV or a .env file that comes by standard input."""

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from keyvault.access.permissions import visible_applications
from keyvault.inventory import bulk_import, catalog, import_formats
from keyvault.inventory.bulk_import import Defaults, Fate, Fates, Way
from keyvault.management.base import (
    Error,
    ServiceCommand,
    acting_member,
    add_by,
    find,
    table,
    wrong_usage,
)
from keyvault.models import Member

_MOST_BYTES = 4 * 1024 * 1024


class Command(ServiceCommand):
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
        parser.add_argument(
            "--send",
            action="append",
            default=[],
            metavar="NAME_OR_LINE",
            help="Record this row although it does not look like a key of the vendor, which is asked.",
        )
        parser.add_argument(
            "--names-are-right",
            action="store_true",
            help="Take names that look like secrets; one that is a known secret is never taken.",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        text = import_formats.decode(_input())
        done = bulk_import.run(by, text, _defaults(by, options), _way(options))
        _refuse_unknown(options["send"], done)
        bad = sum(one.state == "bad" for one in done.rows)
        left = sum(one.state == "left" and not one.setting for one in done.rows)
        told = {"rows": [_told(one) for one in done.rows], "bad": bad, "left_out": left}
        self.say(options, told, _text(done, done_really=options["yes"]))
        # guard: refused rows are no success
        if bad or left or not any(one.good for one in done.rows):
            raise Error(_refusal(bad, left), code="rows_refused", said=True)


def _way(options: dict[str, Any]) -> Way:
    return Way(
        really=options["yes"],
        unchecked=options["unchecked"],
        names_are_right=options["names_are_right"],
        ticked=_sends(options["send"]),
    )


def _sends(wanted: list[str]) -> Callable[[int, str, str], bool]:
    names = {one.casefold() for one in wanted}
    return lambda line, name, _tick: name.casefold() in names or str(line) in names


def _refuse_unknown(wanted: list[str], done: Fates) -> None:
    """A row that is not there was meant to be recorded; what was typed is not repeated."""
    there = {one.name.casefold() for one in done.rows} | {str(one.line) for one in done.rows}
    if any(one.casefold() not in there for one in wanted):
        raise wrong_usage("There is no row that --send names; the others were done as they are.")


def _told(fate: Fate) -> dict[str, Any]:
    return {name: getattr(fate, name) for name in ("line", "name", "state", "text", "key")}


def _refusal(bad: int, left: int) -> str:
    if not bad and not left:
        return "No row is a key of this vendor."
    return f"{bad} rows are refused, and {left} left out."


def _input() -> bytes:
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise wrong_usage("More than 4 MB came in on standard input. Nothing was stored.")
    return data


def _defaults(by: Member, options: dict[str, Any]) -> Defaults:
    return Defaults(
        account=_found(catalog.visible_accounts(by), options, "account"),
        environment=_found(catalog.visible_environments(by), options, "environment"),
        application=_found(visible_applications(by), options, "application"),
    )


def _text(fates: Fates, *, done_really: bool) -> str:
    rows = [(one.line, one.name, one.state, one.text) for one in fates.rows]
    good = sum(one.good for one in fates.rows)
    more = "" if done_really else " Nothing was stored: add --yes."
    if any(one.state == "left" for one in fates.rows):
        more += " What was left out is sent to the vendor with --send NAME or --send LINE."
    return (
        table(("line", "name", "fate", "why"), rows)
        + f"\n{good} of {len(rows)} rows are good.{more}"
    )


def _found(rows: Any, options: dict[str, Any], what: str) -> Any:
    return find(rows, options[what], what) if options[what] else None
