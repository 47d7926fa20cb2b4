"""The one HTTP call to vendors: deadlines, a size cap, no redirects, no private addresses.

Keys travel in the Authorization header only. Every failure becomes a VendorError without URL,
headers or body, so that nothing a library prints can carry a key.
"""

import json
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress

from keyvault.secret_text import Secret
from rotation.providers.base import VendorError

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 10.0, 20.0
MAX_BYTES = 1024 * 1024
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_local = threading.local()


@dataclass(frozen=True)
class Answer:
    """A vendor's complete answer; `body` is None unless it is JSON of at most 1 MiB."""

    status: int
    body: Any
    is_json: bool
    retry_after: float | None


def request(
    method: str,
    url: str,
    *,
    bearer: Secret,
    allow_loopback: bool = False,
    body: Any = None,
    params: dict[str, str] | None = None,
) -> Answer:
    """Send one request and return whatever complete answer comes.

    Raises VendorError when none comes: `sent` is False only if it surely never reached the vendor.
    """
    _require_safe(url, allow_loopback)
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        with _session(allow_loopback).request(
            method,
            url,
            json=body,
            params=params,
            headers={"Authorization": f"Bearer {bearer.reveal()}", "Accept": "application/json"},
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            return _answer(response, _read(response, deadline))
    except InvalidIPAddress:
        raise VendorError(
            "The vendor's address is private or local, which is not allowed.",
            code="forbidden_address",
            retryable=False,
            sent=False,
        ) from None
    except requests.RequestException as error:
        raise _no_answer(error) from None


def _session(allow_loopback: bool) -> requests.Session:
    """Return this thread's session: never shared between threads, or with a process forked off."""
    import os

    key = (os.getpid(), allow_loopback)
    sessions = _local.__dict__.setdefault("sessions", {})
    if key not in sessions:
        session = HTTPSession(
            Config(
                ip_filter_enable=True,
                ip_filter_allow_loopback_ips=allow_loopback,
                never_redirect=True,
                default_timeout=(CONNECT_SECONDS, READ_SECONDS),
                user_agent_override="keyvault",
            )
        )
        session.trust_env = False
        sessions[key] = session
    return sessions[key]  # type: ignore[no-any-return]


def _require_safe(url: str, allow_loopback: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (allow_loopback and parts.hostname in _LOOPBACK):
        return
    raise VendorError(
        "The vendor's address must begin with https://.",
        code="insecure_address",
        retryable=False,
        sent=False,
    )


def _read(response: requests.Response, deadline: float) -> bytes:
    """Read the body in pieces, so that neither its size nor its slowness can hold a worker."""
    data = bytearray()
    for piece in response.iter_content(16384):
        data += piece
        if len(data) > MAX_BYTES:
            raise VendorError("The vendor's answer is larger than 1 MiB.", code="too_large")
        if time.monotonic() > deadline:
            raise VendorError("The vendor answered too slowly.", code="too_slow")
    return bytes(data)


def _answer(response: requests.Response, data: bytes) -> Answer:
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    body: Any = None
    is_json = kind == "application/json" or kind.endswith("+json")
    if is_json:
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            is_json = False
    return Answer(response.status_code, body, is_json, _retry_after(response, body))


def _retry_after(response: requests.Response, body: Any) -> float | None:
    """Return the wait in seconds that the body or the header asks for."""
    error = body.get("error") if isinstance(body, dict) else None
    said = error.get("retry_after") if isinstance(error, dict) else None
    if isinstance(said, int | float) and not isinstance(said, bool) and said >= 0:
        return float(said)
    header = response.headers.get("Retry-After", "")
    if header.isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _no_answer(error: requests.RequestException) -> VendorError:
    never_sent = isinstance(error, requests.ConnectTimeout) or (
        isinstance(error, requests.ConnectionError)
        and any(word in repr(error) for word in ("NewConnectionError", "Failed to resolve"))
    )
    if isinstance(error, requests.exceptions.SSLError):
        return VendorError("The vendor's TLS certificate was not accepted.", code="tls", sent=False)
    if never_sent:
        return VendorError("The vendor cannot be reached.", code="unreachable", sent=False)
    if isinstance(error, requests.Timeout):
        return VendorError("The vendor did not answer in time.", code="timeout")
    return VendorError("The connection to the vendor broke off.", code="broken")
