"""What the management commands share: errors as one sentence, tables, JSON, and secrets by stdin only.

Exit codes: 0 done, 1 refused, 2 wrong usage, 5 a part is away and the same call may work later.
"""

import getpass
import json
import os
import pwd
import sys
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, ProgrammingError
from django.db.models import CharField, Model, QuerySet, Value
from django.db.models.functions import Concat
from psycopg.errors import UndefinedTable

from keyvault.access.permissions import Permission, may
from keyvault.core.errors import KeyServiceError, NotFound
from keyvault.core.numbers import whole
from keyvault.core.redaction import one_line
from keyvault.core.request_context import acting
from keyvault.core.secret import Secret
from keyvault.inventory.keys import get_key
from keyvault.models import ApiKey, Member, Role

REFUSED, USAGE, AWAY, STOPPED = 1, 2, 5, 130
_MOST_INPUT = 64 * 1024
_CELL = 80
T = TypeVar("T", bound=Model)


class Error(CommandError):
    """What is printed to stderr instead of a traceback; `code` and `details` are for --json.

    `said` when the one document for --json stands on standard output already.
    """

    def __init__(
        self,
        message: str,
        *,
        returncode: int = REFUSED,
        code: str = "error",
        details: dict[str, Any] | None = None,
        said: bool = False,
    ) -> None:
        super().__init__(message, returncode=returncode)
        self.said = said
        self.code = code
        self.details = details or {}


def wrong_usage(message: str) -> Error:
    """Return the error for a call that makes no sense as it was typed."""
    return Error(message, returncode=USAGE, code="usage")


class ServiceCommand(BaseCommand):
    """A command that calls our doors: `--json`, and their errors in one sentence."""

    # Commands must work, and say what is wrong, when other parts are not set up.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Give every command `--json`, and refuse options that are cut short."""
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command in an audit context that names it; turn errors into sentences."""
        name = type(self).__module__.rsplit(".", 1)[-1]
        try:
            with acting(uuid.uuid4().hex, f"command {name} by {system_user()}"):
                return super().execute(*args, **options)
        except (KeyServiceError, ValidationError, OperationalError, ProgrammingError) as error:
            said = _told(error)
            if said is None:
                raise
            self._print_error(said, options)
            raise said from None
        except Error as error:
            self._print_error(error, options)
            raise
        except KeyboardInterrupt:
            raise Error("Stopped by the keyboard.", returncode=STOPPED) from None

    def say(self, options: dict[str, Any], data: Any, text: str) -> None:
        """Print `data` as JSON if that was asked for, else `text`."""
        self.stdout.write(_json(data) if options["json"] else text)

    def _print_error(self, error: Error, options: dict[str, Any]) -> None:
        """A script that asked for JSON gets it for a refusal too; the sentence goes to stderr."""
        if options.get("json") and not error.said:
            body = {"code": error.code, "message": str(error), "details": error.details}
            self.stdout.write(_json(body))


def add_by(parser: CommandParser) -> None:
    """Add `--by`: the person in whose name the command acts."""
    parser.add_argument(
        "--by",
        metavar="EMAIL",
        help="Who does this; may be left out when there is exactly one owner.",
    )


def acting_member(options: dict[str, Any]) -> Member:
    """Return the member named by `--by`, or the only owner; Error when there is no such one."""
    email = options.get("by")
    if email:
        return find_member(email)
    candidates = Member.objects.filter(is_active=True, grants__role=Role.OWNER).distinct()
    owners = [member for member in candidates if may(member, Permission.MANAGE)]
    if len(owners) == 1:
        return owners[0]
    many = "There are several owners" if owners else "There is no owner yet"
    raise wrong_usage(f"{many}: say in whose name this is done, with --by EMAIL.")


def find_member(email: str) -> Member:
    """Return the active member with this e-mail address, in any case; Error if there is none."""
    member = Member.objects.filter(email__iexact=email, is_active=True).first()
    if member is None:
        raise wrong_usage(f"There is no active member with the address “{email}”.")
    return member


def find(things: QuerySet[T], name: str, what: str) -> T:
    """Return the thing of this name (in any case) or number; NotFound names what there is none of."""
    found = things.filter(name__iexact=name).first()
    number = whole(name)
    if found is None and number is not None:
        found = things.filter(pk=number).first()
    if found is None:
        raise NotFound(f"There is no {what} named “{one_line(name, 100)}”.")
    return found


def find_key(by: Member, text: str) -> ApiKey:
    """Return the key that `by` may see, named by number or by “account/environment/name”."""
    return get_key(by, key_id_of(text))


def key_id_of(text: str) -> int:
    """Return the number of the key named by it or by its path; 0, which no key has, for none."""
    if text.isascii() and text.isdigit():
        return whole(text) or 0
    parts = ("account__name", Value("/"), "environment__name", Value("/"), "name")
    path = Concat(*parts, output_field=CharField())
    named = ApiKey.objects.alias(path=path).filter(path__iexact=text, archived_at=None)
    ids = list(named.values_list("pk", flat=True)[:2])
    if len(ids) > 1:
        raise wrong_usage("More than one key reads like that: give its number (see listkeys).")
    return ids[0] if ids else 0


def read_input(what: str) -> str:
    """Return what stands on standard input; asks without echo on a terminal. Error if empty."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    text = getpass.getpass(f"{what} (not shown): ") if on_terminal else _piped()
    if not text.strip():
        raise wrong_usage(
            f"Nothing came in on standard input. Pipe the {what.lower()} in, or run this on a "
            "terminal; it is never given as an option."
        )
    return text


def read_secret(what: str) -> str:
    """Return a secret from standard input; from here on it is hidden in logs and messages."""
    text = read_input(what)
    Secret(text.strip())
    return text


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "Nothing."
) -> str:
    """Return rows as aligned text for a terminal; control characters are escaped."""
    lines = [list(headings), *([_cell(value) for value in row] for row in rows)]
    if len(lines) == 1:
        return empty
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(_aligned(line, widths) for line in lines)


def facts(pairs: dict[str, object]) -> str:
    """Return names and values, one pair a line."""
    width = max(map(len, pairs))
    return "\n".join(
        f"{name:<{width}}  {one_line(str(value), 500)}" for name, value in pairs.items()
    )


def system_user() -> str:
    """Return the operating system's name for who runs this, for the audit log."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _piped() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    data = sys.stdin.buffer.read(_MOST_INPUT + 1)
    if len(data) > _MOST_INPUT:
        raise wrong_usage("More than 64 KB came in on standard input. Nothing was stored.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise wrong_usage("What came in on standard input is not UTF-8 text.") from None


def _told(error: Exception) -> Error | None:
    if isinstance(error, KeyServiceError):
        status = AWAY if error.retryable else REFUSED
        return Error(error.message, returncode=status, code=error.code, details=error.details)
    if isinstance(error, ValidationError):
        return wrong_usage(" ".join(error.messages))
    if isinstance(error, OperationalError):
        text = "The database does not answer, or not in time. Try again in a moment."
        return Error(text, returncode=AWAY, code="database_away")
    if isinstance(error.__cause__, UndefinedTable):
        return Error("The database has no tables yet: run `manage.py migrate` first.")
    return None


def _json(data: Any) -> str:
    return json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)


def _cell(value: object) -> str:
    return "—" if value is None or value == "" else one_line(str(value), _CELL)


def _aligned(line: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(padded).rstrip()
