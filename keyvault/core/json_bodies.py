"""Read a JSON body: one object of bounded size, each field once, only text a database can keep."""

import json
import re
from typing import Any, BinaryIO

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from keyvault.core.errors import BadInput

_PLAIN = re.compile(r"(?=.{1,30}$)[a-z]+(_[a-z]+)*")


class CappedJSONParser(BaseParser):
    """The parser of our API views; unlike the framework's own, it obeys the limit on bodies."""

    media_type = "application/json"

    def parse(
        self,
        stream: BinaryIO,  # type: ignore[override]
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the fields of the body; raises BadInput."""
        return parse(stream.read(_limit() + 1))


def read(request: HttpRequest) -> dict[str, Any]:
    """Return the fields of a plain view's body; raises BadInput."""
    try:
        return parse(request.body)
    except RequestDataTooBig:
        raise _too_large() from None


def parse(raw: bytes) -> dict[str, Any]:
    """Return the fields in `raw`; raises BadInput without repeating any of it."""
    if len(raw) > _limit():
        raise _too_large()
    try:
        fields = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadInput(
            "The body is not valid JSON. Nothing was changed.", code="bad_json"
        ) from None
    if not isinstance(fields, dict):
        raise BadInput("The body must be one JSON object. Nothing was changed.", code="bad_json")
    for name, value in fields.items():
        require_text(shown(name), name)
        require_text(shown(name), value)
    return fields


def require_text(field: str, value: Any) -> None:
    """Raise BadInput naming `field` when a text in it holds NUL or half a character."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for item in value:
            require_text(field, item)
    if isinstance(value, str) and ("\0" in value or not _encodes(value)):
        raise BadInput(
            f"“{field}” contains a NUL or a broken character. Nothing was changed.",
            code="odd_character",
            details={"fields": [field]},
        )


def shown(name: str) -> str:
    """Return a field's name as it may be repeated: a secret in the wrong place must not be."""
    return name if _PLAIN.fullmatch(name) else "(odd name)"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field is given twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _limit() -> int:
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0)


def _too_large() -> BadInput:
    return BadInput(
        f"The body is larger than {_limit() // 1024} KB. Nothing was changed.",
        code="too_large",
    )
