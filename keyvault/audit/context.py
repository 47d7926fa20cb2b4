"""Where the current act comes from: request id and source address, set by the middleware."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """The request an act belongs to; empty outside a request."""

    request_id: str = ""
    source: str = ""


_NOWHERE = Context()
_current: ContextVar[Context] = ContextVar("audit_context", default=_NOWHERE)


def current() -> Context:
    """Return the context of the act under way."""
    return _current.get()


@contextmanager
def acting(request_id: str, source: str) -> Iterator[None]:
    """Make every audit row inside the block carry this request id and source."""
    token = _current.set(Context(request_id, source))
    try:
        yield
    finally:
        _current.reset(token)
