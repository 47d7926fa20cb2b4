"""Turn what a person pasted into a secret, or say exactly why it cannot be one.

Outer white space, quotes, a `Bearer ` prefix and `NAME=` are taken off, and the person is told so.
Anything that hints at a damaged copy (inner spaces, invisible or look-alike characters, a mask) is
refused with its position: stripping it would only hide a wrong key. What is no key at all, a whole file,
a reference or a ciphertext, is named. No message repeats the key.
"""

import re
import unicodedata
from dataclasses import dataclass, field

from keyvault.core.errors import BadInput
from keyvault.core.secret import Secret
from keyvault.inventory import file_kinds, placeholders

MAX_LENGTH = 4096
MIN_LENGTH = 8

_HEADER = re.compile(r"(?i)^(?:authorization|x-api-key)\s*:\s*")
_SCHEME = re.compile(r"(?i)^(?:bearer|token)\s+")
_ASSIGNMENT = re.compile(r"^(?:export\s+)?[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+\s*=(?!=|$)\s*")
_MASK_SIGNS = re.compile("[\u2022\u2026\u25cf\u2217\u00b7\uff0a]")
_MASKED = re.compile(r"\*{3,}|\.{3,}|[xX]{8,}|^\[?(?i:hidden|redacted|masked)\]?$")
_SPACE = " \t\r\n\f\v"


@dataclass
class Pasted:
    """A cleaned secret and, in words, what was taken off around it."""

    secret: Secret
    notes: list[str] = field(default_factory=list)


def clean(text: str, *, as_it_is: bool = False) -> Pasted:
    """Return the secret in `text`; raises BadInput (code and position) when it cannot be one.

    Raises Question for what is seldom right, unless the person says that it is so `as_it_is`.
    """
    notes: list[str] = []
    text = _strip(text, notes)
    _refuse_files(text)
    _refuse_odd_characters(text)
    before = ""
    while text != before:  # a quoted header, a quoted assignment of a header …
        before, text = text, _unwrap(text, notes)
    _refuse_unusable(text)
    if not as_it_is:
        # guard: a doubt about a key is asked
        placeholders.ask(text)
    return Pasted(Secret(text), list(dict.fromkeys(notes)))


def _refuse_files(text: str) -> None:
    """Name a whole file in the place of one key."""
    # guard: a whole file is no key
    kind = file_kinds.pasted_as(text)
    if kind:
        raise BadInput(
            f"This is {kind.name}, not a key. Nothing was stored. Paste only the key itself.",
            code="not_a_key",
            details={"kind": kind.code},
        )


def _strip(text: str, notes: list[str]) -> str:
    stripped = text.strip(_SPACE)
    if stripped != text:
        notes.append("White space around the key was removed.")
    return stripped


def _unwrap(text: str, notes: list[str]) -> str:
    for pattern, note in (
        (_HEADER, "The header name in front of the key was removed."),
        (_ASSIGNMENT, "The variable name in front of the key was removed."),
    ):
        text = _cut(pattern, text, note, notes)
    text = _unquote(text, notes)
    return _cut(_SCHEME, text, "The word “Bearer” in front of the key was removed.", notes)


def _cut(pattern: re.Pattern[str], text: str, note: str, notes: list[str]) -> str:
    shorter = pattern.sub("", text, count=1)
    if shorter != text:
        notes.append(note)
    return shorter


def _unquote(text: str, notes: list[str]) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"`":
        notes.append("Quotation marks around the key were removed.")
        return text[1:-1].strip(_SPACE)
    return text


def _refuse_odd_characters(text: str) -> None:
    if _MASK_SIGNS.search(text):
        raise _masked()
    for position, character in enumerate(text, start=1):
        if 32 <= ord(character) < 127 or character in _SPACE:
            continue
        name = unicodedata.name(character, "a control character")
        raise BadInput(
            (
                f"Character {position} is U+{ord(character):04X} ({name}), which no API key contains. "
                "Nothing was stored. Copy the key again from the vendor's page, not from a "
                "document."
            ),
            code="odd_character",
            details={"position": position, "code_point": f"U+{ord(character):04X}"},
        )


def _refuse_unusable(text: str) -> None:
    if not text:
        raise BadInput("The key is empty. Nothing was stored. Paste the whole key.", code="empty")
    if len(text) > MAX_LENGTH:
        raise BadInput(
            (
                f"The key has {len(text):,} characters; keys of up to {MAX_LENGTH:,} are accepted. "
                "Nothing was stored. Check that only the key was copied."
            ),
            code="too_long",
            details={"length": len(text), "limit": MAX_LENGTH},
        )
    if _MASKED.search(text):
        raise _masked()
    # guard: what is no key is refused
    placeholders.refuse(text)
    for position, character in enumerate(text, start=1):
        if character in _SPACE:
            raise BadInput(
                (
                    f"There is white space inside the key, at character {position}. Nothing was "
                    "stored. Copy the key again in one piece."
                ),
                code="inner_space",
                details={"position": position},
            )
    if len(text) < MIN_LENGTH:
        raise BadInput(
            (
                f"The key has only {len(text)} characters; {MIN_LENGTH} are the least. Nothing was "
                "stored. Check that the whole key was copied."
            ),
            code="too_short",
        )


def _masked() -> BadInput:
    return BadInput(
        (
            "This looks like a masked key as shown in lists, not the key itself. Nothing was "
            "stored. Copy the full key; if it is no longer shown, make a new one at the vendor."
        ),
        code="masked",
    )
