"""Name what a text or a file is before a line of it is read: an export, a ciphertext, a document.

What is recognised and not read here is refused as a whole, with one sentence that names it and says
what to do instead. It is never taken line by line: its secrets would end up as names.
"""

from keyvault.inventory.file_kinds.binary import file_kind
from keyvault.inventory.file_kinds.documents import document_kind
from keyvault.inventory.file_kinds.kinds import Kind
from keyvault.inventory.file_kinds.tables import (
    delimiter_of,
    header_of,
    table_kind,
    without_separator,
)
from keyvault.inventory.file_kinds.texts import line_kind, text_kind

__all__ = [
    "Kind",
    "delimiter_of",
    "file_kind",
    "header_of",
    "known_as",
    "pasted_as",
    "without_separator",
]

_MOST = 100_000
_STARTS = ("{", "[{", '["', "-----", "<", "$ANSIBLE_VAULT", "PuTTY-User", "machine ")


def known_as(text: str, columns: frozenset[str] = frozenset()) -> Kind | None:
    """Return the kind of a text that is neither a table with our `columns` nor NAME=value lines."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    start = text.lstrip()
    if start.startswith(("{", "[", '"')):
        found = document_kind(text)
        if found:
            return found
    return text_kind(text) or table_kind(text, columns)


def pasted_as(text: str) -> Kind | None:
    """Return the kind of a file that was pasted in the place of one key; None for what may be one."""
    if "\n" in text or "\r" in text or text.startswith(_STARTS):
        return known_as(text[:_MOST])
    return line_kind(text[:_MOST])
