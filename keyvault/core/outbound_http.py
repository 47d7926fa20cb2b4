"""Call an address that a person set: public only, no redirect, one deadline over the whole call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import requests
from django.conf import settings
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.exceptions import HTTPError

from keyvault.core import deadline, retry_after

_TIMEOUT = (5.0, 10.0)
_PRIVATE = "The address is private or local, which is not allowed."


@dataclass(frozen=True)
class Posted:
    """What came of a call; `final` means that trying again makes no sense.

    `wait` is for how many seconds the receiver asked to be left alone, if it did.
    """

    sent: bool
    text: str
    final: bool = False
    wait: float | None = None


@dataclass(frozen=True)
class Got:
    """What an address answered; `content` is None when it could not be read, and `text` says why."""

    content: bytes | None
    text: str


def post(url: str, body: str, headers: dict[str, str], seconds: float) -> Posted:
    """Post the body and say what came of it; the call ends after `seconds` in all. Never raises."""
    try:
        with _session() as session, deadline.within(seconds) as limit:
            deadline.install(session)
            with session.post(
                url, data=body.encode(), headers=headers, stream=True, allow_redirects=False
            ) as response:
                status = response.status_code
                asked = response.headers.get("Retry-After", "")
    except InvalidIPAddress:
        return Posted(False, _PRIVATE, final=True)
    except (requests.RequestException, ValueError) as error:
        return Posted(False, f"No answer ({type(error).__name__}).")
    if limit.passed:  # headers that are cut off look complete
        return Posted(False, "The receiver answered too slowly.")
    if 200 <= status < 300:
        return Posted(True, f"Answered {status}.")
    # guard: Retry-After is honoured
    wait = retry_after.seconds(asked)
    return Posted(False, f"Answered {status}.", final=status == 410, wait=wait)


def next_try(attempt: int, result: Posted, first: float, longest: float) -> timedelta:
    """Return when to try again: pauses that double from `first` seconds on, or longer if so asked.

    `longest` (seconds) bounds the doubling; what a receiver asks for is bounded by six times that.
    """
    pause = min(first * 2 ** min(attempt, 20), longest)
    return timedelta(seconds=max(pause, min(result.wait or 0.0, 6 * longest)))


def get(url: str, seconds: float, most_bytes: int) -> Got:
    """Read an address, of `most_bytes` at most; the call ends after `seconds` in all. Never raises."""
    try:
        with _session() as session, deadline.within(seconds) as limit:
            deadline.install(session)
            with session.get(url, stream=True, allow_redirects=False) as response:
                status = response.status_code
                content = response.raw.read(most_bytes + 1, decode_content=True)
    except InvalidIPAddress:
        return Got(None, _PRIVATE)
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        return Got(None, f"No answer ({type(error).__name__}).")
    if limit.passed:
        return Got(None, "It answered too slowly.")
    if status != 200:
        return Got(None, f"It answered {status}.")
    if len(content) > most_bytes:
        return Got(None, f"Its answer is larger than {most_bytes} bytes.")
    return Got(content, "Read.")


@contextmanager
def _session() -> Iterator[requests.Session]:
    """Open a session that calls public addresses only, follows nothing, and knows no proxy."""
    sender = Manager(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=settings.ALLOW_LOOPBACK_TARGETS,
            never_redirect=True,
            default_timeout=_TIMEOUT,
            user_agent_override="keyvault",
        )
    )
    with sender.get_session() as session:
        session.trust_env = False
        yield session
