"""The one HTTP call to vendors: deadlines, a size cap, no redirects, no private addresses.

Keys travel in the Authorization header only. Every failure becomes a VendorError without URL,
headers or body, so that nothing a library prints can carry a key.
"""

import json
import os
import re
import threading
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.exceptions import LocationParseError

from keyvault.core import deadline, retry_after
from keyvault.core.secret import Secret
from keyvault.vendors.base import UNSENDABLE, VendorError

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 10.0, 20.0
MAX_BYTES = 1024 * 1024
_LONGEST_WAIT = 31 * 86400.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NEVER_SENT = (
    UnicodeError,
    LocationParseError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
)
_PLAIN = re.compile(r"[A-Za-z0-9_.:@-]{1,100}")
_local = threading.local()


@dataclass(frozen=True)
class Answer:
    """A vendor's complete answer; `body` is None unless it is JSON of at most 1 MiB."""

    status: int
    body: Any
    is_json: bool
    retry_after: float | None
    # What the header says that was asked for; empty for none, or for one of an odd shape.
    told: str = ""


def request(
    method: str,
    url: str,
    *,
    bearer: Secret,
    allow_loopback: bool = False,
    body: Any = None,
    params: dict[str, str] | None = None,
    seconds: float = TOTAL_SECONDS,
    header: str = "",
) -> Answer:
    """Send one request and return whatever complete answer comes within `seconds`.

    `header` names the one of the answer's headers that is wanted.

    Raises VendorError when none comes: `sent` is False only if it surely never reached the vendor.
    """
    _require_safe(url, allow_loopback)
    with deadline.within(seconds) as limit:
        try:
            with _session(allow_loopback).request(
                method,
                url,
                json=body,
                params=params,
                headers={
                    "Authorization": f"Bearer {bearer.reveal()}",
                    "Accept": "application/json",
                },
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                data = _read(response)
        except (requests.RequestException, ValueError) as error:
            if limit.passed:
                raise _too_slow() from None
            raise _no_answer(error) from None
        if limit.passed:  # a body without a length looks complete when it is cut off
            raise _too_slow()
    return _answer(response, data, header)


def _too_slow() -> VendorError:
    return VendorError("The vendor answered too slowly.", code="too_slow")


def _session(allow_loopback: bool) -> requests.Session:
    """Return this thread's session: never shared between threads, or with a process forked off."""
    key = (os.getpid(), allow_loopback)
    sessions = _local.__dict__.setdefault("sessions", {})
    if key not in sessions:
        sessions[key] = _new_session(allow_loopback)
    return sessions[key]  # type: ignore[no-any-return]


def _new_session(allow_loopback: bool) -> requests.Session:
    session: requests.Session = HTTPSession(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=allow_loopback,
            never_redirect=True,
            default_timeout=(CONNECT_SECONDS, READ_SECONDS),
            user_agent_override="keyvault",
        )
    )
    session.trust_env = False
    # A vendor's cookie from a call with one key must not speak for the next key.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    deadline.install(session)
    return session


def _require_safe(url: str, allow_loopback: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _refused_address("The vendor's address is not a valid one.") from None
    # User and password in an address would take the place of the key in the request.
    if not host or "@" in parts.netloc or any(character in url for character in "\\?#"):
        raise _refused_address("The vendor's address must be scheme, host and path only.")
    local = allow_loopback and parts.scheme == "http" and host in _LOOPBACK
    if parts.scheme != "https" and not local:
        raise _refused_address("The vendor's address must begin with https://.")


def _refused_address(text: str) -> VendorError:
    return VendorError(text, code="insecure_address", retryable=False, sent=False)


def _forbidden_address() -> VendorError:
    return VendorError(
        "The vendor's address is private or local, which is not allowed.",
        code="forbidden_address",
        retryable=False,
        sent=False,
    )


def _read(response: requests.Response) -> bytes:
    data = bytearray()
    for piece in response.iter_content(16384):
        data += piece
        if len(data) > MAX_BYTES:
            raise VendorError("The vendor's answer is larger than 1 MiB.", code="too_large")
    return bytes(data)


def _answer(response: requests.Response, data: bytes, header: str) -> Answer:
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    body: Any = None
    is_json = kind == "application/json" or kind.endswith("+json")
    if is_json:
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            is_json = False
    said = response.headers.get(header, "") if header else ""
    told = said if _PLAIN.fullmatch(said) else ""
    return Answer(response.status_code, body, is_json, _retry_after(response, body), told)


def _retry_after(response: requests.Response, body: Any) -> float | None:
    """Return the wait in seconds, a month at most, that the body or the header asks for."""
    error = body.get("error") if isinstance(body, dict) else None
    said = error.get("retry_after") if isinstance(error, dict) else None
    if isinstance(said, bool) or not isinstance(said, int | float):
        said = retry_after.seconds(response.headers.get("Retry-After", ""))
    if said is None or not said >= 0:  # so written, it refuses what is not a number, too
        return None
    return float(min(said, _LONGEST_WAIT))


def _no_answer(error: Exception) -> VendorError:
    """Name the failure without the library's text, which holds the address and may hold more."""
    if isinstance(error, InvalidIPAddress):
        return _forbidden_address()
    said = repr(error)
    if isinstance(error, requests.exceptions.SSLError):
        # Other TLS errors come in mid-answer too, when the request has been carried out.
        refused = "CERTIFICATE_VERIFY_FAILED" in said
        text = "The vendor's TLS certificate was not accepted."
        return VendorError(
            text if refused else "The TLS connection broke off.", code="tls", sent=not refused
        )
    if isinstance(error, requests.ConnectTimeout) or (
        isinstance(error, requests.ConnectionError)
        and any(word in said for word in ("NewConnectionError", "Failed to resolve"))
    ):
        return VendorError("The vendor cannot be reached.", code="unreachable", sent=False)
    if isinstance(error, _NEVER_SENT):
        return VendorError("The request cannot be sent.", code=UNSENDABLE, sent=False)
    if isinstance(error, requests.Timeout):
        return VendorError("The vendor did not answer in time.", code="timeout")
    return VendorError("The connection to the vendor broke off.", code="broken")
