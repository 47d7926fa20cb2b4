"""Tables, told by their first line: what AWS and password managers hand out."""

import csv
import re

from keyvault.inventory.file_kinds.kinds import COLUMNS, NO_KEY, OURS, Kind

# The columns that must be there; the first that fits counts, so the closer ones come first.
_TABLES: tuple[tuple[frozenset[str], Kind], ...] = tuple(
    (frozenset(columns.split("|")), Kind(code, what, then))
    for columns, code, what, then in (
        (
            "access key id|secret access key",
            "aws_keys",
            "the file of access keys that AWS hands out",
            ("It holds a pair, id and secret. Give it the header name,vendor_id,secret, and each "
                "key a name."),
        ),
        (
            "user name|password|console login link",
            "aws_console",
            "the file of console passwords that AWS hands out",
            NO_KEY,
        ),
        (
            "user name|password|console sign-in url",
            "aws_console",
            "the file of console passwords that AWS hands out",
            NO_KEY,
        ),
        ("login_uri|login_password", "bitwarden_csv", "an export of Bitwarden", COLUMNS),
        ("folder|favorite|login_username", "bitwarden_csv", "an export of Bitwarden", COLUMNS),
        (
            "url|username|password|grouping",
            "lastpass",
            "an export of LastPass",
            ("It writes & as &amp; within secrets: undo that, keep the rows that are API keys, and "
                "give its columns our names: name,secret,purpose."),
        ),
        (
            "title|password|otpauth|favorite",
            "1password",
            "an export of 1Password",
            COLUMNS,
        ),
        ("title|password|notesplain", "1password_old", "an export of 1Password 7", COLUMNS),
        ("title|password|favorite", "1password", "an export of 1Password", COLUMNS),
        ("title|password|type", "1password_old", "an export of 1Password 7", COLUMNS),
        ("title|account number(accountno)", "1password_old", "an export of 1Password", COLUMNS),
        ("title|credential", "1password", "an export of 1Password", COLUMNS),
        ("group|title|password", "keepass", "an export of KeePassXC", COLUMNS),
        ("account|login name|password", "keepass", "an export of KeePass", COLUMNS),
        ("title|user name|password", "keepass", "an export of KeePass", COLUMNS),
        ("title|password|otpauth", "apple", "an export of Apple Passwords", COLUMNS),
        ("url|username|password|guid", "firefox", "an export of Firefox", COLUMNS),
        ("username2|title|password", "dashlane", "an export of Dashlane", COLUMNS),
        ("name|url|email|username|password", "proton", "an export of Proton Pass", COLUMNS),
        ("name|url|username|password|cardholdername", "nordpass", "an export of NordPass",
         COLUMNS),
        ("name|url|username|password", "browser", "an export of a browser's passwords", COLUMNS),
        ("title|password", "passwords", "an export of a password manager", COLUMNS),
        ("username|password", "passwords", "a table of passwords", COLUMNS),
        ("login|password", "passwords", "a table of passwords", COLUMNS),
        ("key|value", "key_value", "a table of keys and values, as Infisical exports it",
         "Give its columns our names: name,secret."),
        ("secretname|secretvalue", "key_value", "a table of secrets", COLUMNS),
    )
)  # fmt: skip
_TELLING = re.compile(
    r"password|url|website|title|variable|env|login|user(?:name)?|key|value|credentials?|secret|token|"
    r"(?:api|client|access|secret)[ _-]?(?:id|key|secret|token)"
)
_HEADING = re.compile(r"[A-Za-z#][\w .()/*-]{0,60}")
_SEPARATOR = re.compile(r"(?i)\ufeff?\"?sep=(.)\"?$")
_LONGEST = 10_000


def table_kind(text: str, ours: frozenset[str]) -> Kind | None:
    """Return the kind of a table with columns that are not `ours`; None for ours, or for no table."""
    cells = header_of(text)
    names = {cell.strip().casefold() for cell in cells}
    if len(cells) < 2 or ("name" in names and names <= ours):
        return None
    for needed, kind in _TABLES:
        if needed <= names:
            return kind
    plain = all(_HEADING.fullmatch(cell.strip()) for cell in cells if cell.strip())
    if (
        plain
        and "name" not in names
        and any(_TELLING.fullmatch(name) or name in ours for name in names)
    ):
        return Kind("other_table", "a table with other columns than ours", OURS)
    return None


def header_of(text: str) -> list[str]:
    """Return the cells of the first line that is not empty and names no separator."""
    for line in text.split("\n"):
        if line.strip() and not _SEPARATOR.match(line.strip()):
            try:
                return next(csv.reader([line[:_LONGEST]], delimiter=delimiter_of(text)), [])
            except csv.Error:
                return []
    return []


def delimiter_of(text: str) -> str:
    """Return the sign between cells: what `sep=` says, else the one that the first line has most."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    said = _SEPARATOR.match(first.strip())
    if said:
        return said[1]
    return max(",;\t", key=first.count)


def without_separator(text: str) -> str:
    """Return the text with an empty line in the place of Excel's `sep=;`, so that lines keep numbers."""
    head, _end, rest = text.lstrip("\n").partition("\n")
    empty = len(text) - len(text.lstrip("\n")) + 1
    return "\n" * empty + rest if _SEPARATOR.match(head.strip()) else text
