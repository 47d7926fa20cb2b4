"""A program for the web server's tests: it says what it was given; with hasty limits, and not so hasty."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from keyvault.web_server import BufferingWorker


class HastyWorker(BufferingWorker):
    """Waits for clients as long as a test may take."""

    head_seconds, request_seconds = 1.0, 2.0


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
) -> Iterable[bytes]:
    """Answer with method, path, length of the body and X-Forwarded-For; `/slow` takes two seconds."""
    length = len(environ["wsgi.input"].read())
    if environ["PATH_INFO"] == "/slow":
        threading.Event().wait(2)
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "50000000")])
        return (b"x" * 100_000 for _ in range(500))
    said = [environ["REQUEST_METHOD"], environ["PATH_INFO"], str(length)]
    out = " ".join([*said, environ.get("HTTP_X_FORWARDED_FOR", "-")]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(out)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [out]
