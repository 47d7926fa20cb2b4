"""Log lines: one JSON object each, through structlog, with every known secret hidden in every field."""

import copy
import logging
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter

from keyvault.core.redaction import redact
from keyvault.core.request_context import current

Event = MutableMapping[str, Any]
# Django puts whole requests there; what is in them is nobody's business.
_DROPPED = ("request", "data", "_record", "_from_structlog", "exc_info", "stack_info")


class JsonFormatter(ProcessorFormatter):
    """Formats every record of the process, ours and the libraries', the same way."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=[ExtraAdder()],
            processors=[_facts, _redacted, structlog.processors.JSONRenderer(ensure_ascii=True)],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        plain = copy.copy(record)
        plain.msg, plain.args = _message(record), ()
        return super().format(plain)


def _facts(_: Any, __: str, event: Event) -> Event:
    """Put when, how bad, where, in which request; then what, extra fields and a traceback."""
    record: logging.LogRecord = event["_record"]
    line: dict[str, Any] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": event.pop("event"),
    }
    if current().request_id:
        line["request_id"] = current().request_id
    line |= {name: value for name, value in event.items() if name not in _DROPPED}
    thrown = event.get("exc_info")
    if thrown and thrown[0]:
        line["traceback"] = "".join(traceback.format_exception(*thrown))
    return line


def _redacted(_: Any, __: str, event: Event) -> Event:
    return {name: redact(str(value)) for name, value in event.items()}


def _message(record: logging.LogRecord) -> str:
    """Return the message; a wrong format shows itself, since logging would print raw arguments."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} (its arguments do not fit)"


def json_formatter() -> JsonFormatter:
    """Build the formatter for the logging configuration."""
    return JsonFormatter()
