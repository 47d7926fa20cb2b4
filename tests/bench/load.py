"""Ask an address as fast as so many callers can, and say how often it answered and what it cost."""

import http.client
import sys
import time
from multiprocessing import get_context
from urllib.parse import urlsplit

CALLERS = 8


def rate(url: str, headers: dict[str, str], seconds: float, expected: int = 200) -> float:
    """Return answers a second at eight callers in processes of their own; raises on another status."""
    context = get_context("spawn")
    with context.Pool(CALLERS) as pool:
        jobs = [(url, headers, seconds, expected)] * CALLERS
        return sum(pool.starmap(_ask, jobs)) / seconds


def _ask(url: str, headers: dict[str, str], seconds: float, expected: int) -> int:
    parts = urlsplit(url)
    assert parts.hostname
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        link.request("GET", parts.path, headers=headers)
        answer = link.getresponse()
        answer.read()
        if answer.status != expected:
            sys.exit(f"{answer.status} where {expected} was expected")
        count += 1
    return count
