"""F12: who connects and says nothing, or says it slowly, takes no thread from those who ask."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.waiting import until

pytestmark = pytest.mark.pure

THREADS = 2
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
# What a connection sends and then leaves at that.
UNFINISHED = {
    "silent": b"",
    "slow headers": b"GET / HTTP/1.1\r\nHost: x\r\nX-",
    "slow body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    "slow chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "behind a whole one": GET + b"GET /b HTTP/1.1\r\nHo",
}


@contextlib.contextmanager
def running(worker: str = "keyvault.web_server.BufferingWorker", *more: str) -> Iterator[Any]:
    """Run gunicorn with our worker over the echo; return its port and its process."""
    port = free_port()
    command = [
        "gunicorn",
        "tests.echo:application",
        "--worker-class",
        worker,
        "--no-control-socket",
    ]
    command += ["--threads", str(THREADS), "--bind", f"127.0.0.1:{port}", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _opens(port), what="gunicorn")
        yield port, process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running() as (number, _):
        yield number


@pytest.fixture(scope="module")
def hasty() -> Iterator[int]:
    with running("tests.echo.HastyWorker") as (number, _):
        yield number


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _opens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False


def opened(port: int, said: bytes = b"") -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), 10)
    link.sendall(said)
    return link


def answer(link: socket.socket) -> tuple[int, str]:
    """Read one answer with a length; return its status and its text."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += link.recv(1) or pytest.fail(f"cut off after {data!r}")
    head = data.decode().lower()
    length = int(head.partition("content-length: ")[2].split("\r\n")[0])
    text = b""
    while len(text) < length:
        text += link.recv(length - len(text))
    return int(head.split()[1]), text.decode()


def to_the_end(link: socket.socket) -> bytes:
    link.settimeout(15)
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := link.recv(4096):
            data += more
    return data


def get(port: int, path: str = "/") -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)


@pytest.mark.parametrize("kind", UNFINISHED)
def test_unfinished_requests_hold_no_thread(port: int, kind: str) -> None:
    links = [opened(port, UNFINISHED[kind]) for _ in range(4 * THREADS)]
    try:
        for _ in range(2 * THREADS):
            assert get(port).text == "GET / 0 -"
    finally:
        for link in links:
            link.close()


@pytest.mark.parametrize("kind", ["slow headers", "slow body", "slow chunks"])
def test_slow_requests_are_told_that_they_are_too_slow(hasty: int, kind: str) -> None:
    with opened(hasty, UNFINISHED[kind]) as link:
        assert to_the_end(link).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(("kind", "drip"), [("slow headers", b"X"), ("slow body", b"x")])
def test_a_drip_does_not_prolong_it(hasty: int, kind: str, drip: bytes) -> None:
    """The time is that of the whole request, not of each byte of it."""
    link = opened(hasty, UNFINISHED[kind])
    link.settimeout(0.1)
    ends = time.monotonic() + 10
    said = b""
    with link, contextlib.suppress(ConnectionError):
        while time.monotonic() < ends:
            link.sendall(drip)
            with contextlib.suppress(TimeoutError):
                said = link.recv(100)
                break
    assert said.startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_is_closed_without_a_word(hasty: int) -> None:
    """Browsers open some in advance; what they read there they might take for an answer."""
    with opened(hasty) as link:
        assert to_the_end(link) == b""


def test_answers_that_nobody_reads_hold_no_thread_for_good(port: int) -> None:
    from keyvault import web_server

    links = [opened(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(THREADS)]
    try:
        until(lambda: _answers(port), web_server.ANSWER_SECONDS + 20, "a thread to be given back")
    finally:
        for link in links:
            link.close()


def _answers(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return get(port).status_code == 200
    return False


def test_one_connection_carries_many_requests_of_each_form(port: int) -> None:
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with opened(port) as link:
        for said, expected in (
            (GET, "GET /a 0 -"),
            (b"POST /b HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nhello", "POST /b 5 -"),
            (chunked + b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "POST /c 13 -"),
            (chunked + b"0\r\nX-Trailer: 1\r\n\r\n", "POST /c 0 -"),
        ):
            link.sendall(said)
            assert answer(link) == (200, expected)


def test_requests_sent_at_once_are_answered_in_order(port: int) -> None:
    body = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    with opened(port, GET + body + GET + body[:-1]) as link:
        assert [answer(link)[1] for _ in range(3)] == ["GET /a 0 -", "POST /b 3 -", "GET /a 0 -"]
        link.sendall(b"c")
        assert answer(link)[1] == "POST /b 3 -"


def test_a_body_in_pieces_arrives_whole(port: int) -> None:
    body = b"x" * 200_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
    with opened(port) as link:
        for place in range(0, len(head), 7):
            link.sendall(head[place : place + 7])
        for place in range(0, len(body), 30_000):
            link.sendall(body[place : place + 30_000])
        assert answer(link)[1] == "POST / 200000 -"


def test_head_has_no_body_and_the_next_request_is_read(port: int) -> None:
    with opened(port, GET.replace(b"GET", b"HEAD") + GET) as link:
        data = link.recv(65536)
        while not data.endswith(b"GET /a 0 -"):
            data += link.recv(65536)
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert b"HEAD /a" not in data


def test_who_asks_before_sending_a_body_is_told_to_go_on(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with opened(port, head) as link:
        assert link.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(b"abc")
        data = b""
        while b"POST / 3 -" not in data:
            data += link.recv(4096)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"fffffff\r\nx", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"\r\n\r\n\x00\x01nonsense\r\n\r\n", 400),
    ],
)
def test_what_is_malformed_or_too_large_is_refused_and_the_connection_ends(
    port: int, said: bytes, status: int
) -> None:
    """Nothing behind such a request is ever read as another one."""
    with opened(port, said) as link:
        with contextlib.suppress(OSError):
            link.sendall(GET)
        data = to_the_end(link)
    assert data.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"GET /a" not in data
    assert get(port).status_code == 200


def test_a_look_alike_of_a_trusted_header_is_dropped(port: int) -> None:
    """Names with an underscore would read like X-Forwarded-For, which proxies write."""
    said = b"GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 10.0.0.1\r\nX-Forwarded-For: a\r\n"
    with opened(port, said + b"X-Forwarded-For: b\r\n\r\n") as link:
        assert answer(link)[1] == "GET / 0 a,b"


def test_when_there_is_no_room_the_one_that_waits_longest_goes() -> None:
    """As many silent connections as a process takes do not keep the next one out."""
    with running("keyvault.web_server.BufferingWorker", "--worker-connections", "20") as (port, _):
        links = [opened(port) for _ in range(60)]
        try:
            assert get(port).text == "GET / 0 -"
            assert to_the_end(links[0]) == b""
        finally:
            for link in links:
                link.close()


def test_a_process_that_ends_answers_what_has_begun() -> None:
    with running() as (port, process):
        got: list[str] = []
        asking = threading.Thread(target=lambda: got.append(get(port, "/slow").text))
        asking.start()
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 0.5, what="the request to be under way")
        with opened(port, GET) as idle:
            answer(idle)
            process.terminate()
            asking.join(15)
            assert got == ["GET /slow 0 -"]
            assert process.wait(15) == 0
            assert to_the_end(idle) == b""
