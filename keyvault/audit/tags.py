"""The name that each request to Vault carries: our request's id, signed so that only we can make it."""

import hashlib
import hmac

from django.conf import settings

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
