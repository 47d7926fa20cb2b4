"""Where the current act comes from: request id and source address, set by the middleware."""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.conf import settings


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


_LENGTH = 16


def tag(request_id: str) -> str:
    """Return the id with its signature; the id may be empty, as outside of any request."""
    return f"{request_id or 'none'}.{_signature(request_id or 'none')}"


def opened(text: str) -> str | None:
    """Return the request id of a tag of ours, or None for anything else."""
    request_id, _, signature = text.rpartition(".")
    good = hmac.compare_digest(_signature(request_id).encode(), signature.encode())
    return request_id if good else None


def _signature(request_id: str) -> str:
    key = settings.SECRET_KEY.encode()
    digest = hmac.new(key, b"vault request\0" + request_id.encode(), hashlib.sha256)
    return digest.hexdigest()[:_LENGTH]
