"""The one HTTP call: bounded in time and size, sent to the vendor only, and silent about the key."""

import logging
import socket
import ssl
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from keyvault.core import retry_after
from keyvault.core.secret import Secret
from keyvault.vendors import http
from keyvault.vendors.base import VendorError
from keyvault.vendors.http import Answer, request
from tests.keyvault.helpers import saying, serving, windows
from tests.rotation.providers.sockets import certificate, dripping, silent, talking, tls_server
from tests.waiting import until

pytestmark = pytest.mark.pure

KEY = "inf_canary-Pq73ZkLw02VbnXyT"
OK = {"success": True}


def get(url: str, **options: Any) -> Answer:
    return request("GET", url, bearer=Secret(KEY), **{"allow_loopback": True, **options})


def failure(url: str, **options: Any) -> VendorError:
    """Return the error of a call, having looked for the key in everything that may be printed."""
    method = options.pop("method", "GET")
    with pytest.raises(VendorError) as caught:
        request(method, url, bearer=Secret(KEY), **{"allow_loopback": True, **options})
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + repr(error.args)
    assert not windows(KEY, 8) & windows(shown, 8)
    assert "127.0.0.1" not in error.text
    return error


# --- Time and size ---

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "in the headers": (b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"),
    "in one header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
    "in the status line": (b"HTTP/1.1 200 ", b"O"),
    "in a body of known length": (HEAD + b"Content-Length: 500000\r\n\r\n", b" "),
    "in a body of unknown length": (HEAD + b"\r\n", b" "),
    "in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
def test_an_answer_that_drips_ends_at_the_deadline(where: str) -> None:
    """B55's sibling at the vendor: each byte would start a read time-out anew."""
    head, drop = DRIPS[where]
    with talking(dripping(head, drop)) as url:
        began = time.monotonic()
        error = failure(url, seconds=0.6)
        assert time.monotonic() - began < 3
    assert error.code == "too_slow"
    assert error.sent
    assert error.retryable


def test_a_vendor_that_accepts_and_stays_silent_ends_at_the_deadline() -> None:
    with talking(silent) as url:
        began = time.monotonic()
        assert failure(url, seconds=0.5).code == "too_slow"
        assert time.monotonic() - began < 3


def test_a_late_but_complete_answer_without_a_length_is_not_taken_as_whole() -> None:
    """When the deadline cuts such a body it looks complete; it may have been the first half."""

    def talk(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(HEAD + b'\r\n{"success": true}')
        ended.wait(10)

    with talking(talk) as url:
        assert failure(url, seconds=0.5).code == "too_slow"


def test_the_deadline_of_one_call_does_not_cut_the_next() -> None:
    with serving(saying(200, OK)) as server:
        for _ in range(3):
            assert get(server.url, seconds=0.3).status == 200
        threading.Event().wait(0.4)
        assert get(server.url).status == 200


def test_a_call_leaves_no_timer_behind() -> None:
    """A busy worker would gather thousands of them."""

    def timers() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if isinstance(each, threading.Timer)]

    with serving(saying(200, OK)) as server:
        get(server.url, seconds=60)
        until(lambda: not timers(), 5, "timers to end")


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_a_huge_body_is_not_read_to_its_end(length: str) -> None:
    """B08: 50 MB of JSON."""
    sent = 0

    def talk(connection: socket.socket, ended: threading.Event) -> None:
        nonlocal sent
        told = b"Content-Length: 52428800\r\n" if length == "known" else b""
        connection.sendall(HEAD + told + b"\r\n")
        while sent < 52_428_800 and not ended.is_set():
            sent += connection.send(b" " * 65_536)

    with talking(talk) as url:
        assert failure(url).code == "too_large"
    assert sent < 20_000_000


def test_a_small_body_that_unpacks_to_a_huge_one_is_not_taken() -> None:
    import gzip

    bomb = gzip.compress(b" " * 20_000_000)
    with serving(saying(200, bomb, Content_Encoding="gzip")) as server:
        assert failure(server.url).code == "too_large"


def test_a_body_of_a_whole_mebibyte_is_taken() -> None:
    data = b'"' + b"a" * (http.MAX_BYTES - 2) + b'"'
    with serving(saying(200, data)) as server:
        assert len(get(server.url).body) == http.MAX_BYTES - 2


# --- Redirects, cookies, proxies: the key goes to the vendor and nowhere else ---


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_never_followed(status: int, method: str) -> None:
    """B65: neither to another host, another port, http, nor for a POST."""
    with serving(saying(200, OK)) as other:
        for target in (other.url, other.url.replace("127.0.0.1", "localhost"), "//x.invalid/"):
            with serving(saying(status, b"", "", Location=target)) as server:
                answer = request(method, server.url, bearer=Secret(KEY), allow_loopback=True)
                assert answer.status == status
                assert len(server.seen) == 1
        assert other.seen == []


def test_a_cookie_of_one_call_does_not_travel_with_the_next() -> None:
    """Else a vendor's session of the old key could make a refused new key look valid."""
    with serving(saying(200, OK, Set_Cookie="session=of-the-first-key; Path=/")) as server:
        for _ in range(2):
            get(server.url)
        assert len(server.seen) == 2
        assert not any("Cookie" in seen.headers for seen in server.seen)


def test_nothing_of_the_environment_reaches_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, no .netrc: the key would go to a stranger, or another credential in its place."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(saying(200, OK)) as proxy, serving(saying(200, OK)) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        get(server.url)
        assert proxy.seen == []
        assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "address",
    [
        "http://user:password@127.0.0.1:{port}/x",
        "http://user@127.0.0.1:{port}/x",
        "http://@127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}/x?key=1",
        "http://127.0.0.1:{port}/x#y",
        "http://127.0.0.1:{port}\\@example.com/x",
        "http://example.com\\@127.0.0.1:{port}/x",
        "ftp://127.0.0.1:{port}/x",
        "file:///etc/passwd",
        "//127.0.0.1:{port}/x",
        "127.0.0.1:{port}",
        "http://",
        "https://[::1",
        "https://127.0.0.1:notaport/",
        "",
    ],
)
def test_an_address_that_is_more_than_host_and_path_is_refused(address: str) -> None:
    """A name and password in it would replace the key, and the vendor would call the key wrong."""
    with serving(saying(200, OK)) as server:
        error = failure(address.format(port=server.port))
        assert server.seen == []
    assert (error.code, error.sent, error.retryable) == ("insecure_address", False, False)


# --- Private addresses ---


def words(text: str) -> list[str]:
    return text.split()


V4 = words(
    """127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.1 017700000001
0177.0.0.1 0 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
192.168.255.255 169.254.169.254 169.254.170.2 2852039166 0xa9fea9fe 0251.0376.0251.0376 100.64.0.1
100.100.100.200 100.127.255.254 192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.255
198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.88.99.1 localhost
LOCALHOST"""
)
V6 = words(
    """[::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1]
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:100.64.0.1] [::ffff:0.0.0.0] [fe80::1] [fc00::1]
[fd00::1] [fd00:ec2::254] [fdff:ffff::1] [ff02::1] [ff0e::1] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::1] [2001:db8::1] [2001::1] [2001:20::1] [2002:7f00:1::] [2002:a9fe:a9fe::] [100::1]
[3fff::1] [5f00::1]"""
)
ODD = words("localhost. ①②⑦.⓪.⓪.① 127。0。0。1 １２７.0.0.1 127.0.0.1%2f@example.com")
UNUSABLE = {"unreachable", "unsendable"}


def test_the_corpus_is_large_enough() -> None:
    assert len({*V4, *V6, *ODD}) >= 60


@pytest.mark.parametrize("host", [*V4, *V6, *ODD])
def test_private_addresses_are_refused_before_anything_is_sent(host: str) -> None:
    """TM-20: no loopback, private, link-local, carrier, metadata, mapped or oddly written address."""
    with serving(saying(200, OK)) as server:
        for url in (f"https://{host}:{server.port}/v1", f"http://{host}:{server.port}/v1"):
            error = failure(url, allow_loopback=False)
            assert not error.sent
            # Without IPv6 such an address cannot be looked up, and odd ones cannot at all.
            allowed = {"forbidden_address", "insecure_address"}
            assert error.code in (allowed if host in V4 else allowed | UNUSABLE)
        assert server.seen == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "[fd00::1]", "100.64.0.1"]
)
def test_allowing_loopback_allows_no_other_private_address(host: str) -> None:
    """The setting for development opens 127.0.0.1 and nothing else."""
    assert failure(f"https://{host}/").code in ("forbidden_address", "unreachable")
    assert failure(f"http://{host}/").code == "insecure_address"


def test_plain_http_is_for_loopback_only() -> None:
    assert failure("http://api.influtics.com/v1").code == "insecure_address"
    with serving(saying(200, OK)) as server:
        assert failure(server.url, allow_loopback=False).code == "insecure_address"
        assert get(server.url).status == 200


# --- Failures: what surely never arrived, and what may have been carried out ---


@pytest.mark.parametrize(
    "url",
    [
        "https://no-such-host.invalid",
        "http://127.0.0.1:9",
        "https://" + "a" * 70 + ".example",
        "https://a..b.example",
        "https://" + "ü" * 80 + ".example",
    ],
)
def test_what_never_left_is_told_as_not_sent(url: str) -> None:
    assert not failure(url, method="POST", seconds=8).sent


CUTS = {
    "at once": b"",
    "in the status line": b"HTTP/1.1 2",
    "in the headers": HEAD,
    "in the body": HEAD + b'Content-Length: 900\r\n\r\n{"success',
    "in a chunk": HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"success',
    "with nonsense": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "with a broken encoding": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "with a huge header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "with too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 500 + b"\r\n",
    "with a wrong length": HEAD + b"Content-Length: many\r\n\r\n",
}


@pytest.mark.parametrize("where", CUTS)
def test_a_broken_answer_may_have_been_carried_out_and_is_asked_for_once(where: str) -> None:
    """B01: sent, unclear, and never repeated by the HTTP layer itself."""
    count = 0

    def talk(connection: socket.socket, _: threading.Event) -> None:
        nonlocal count
        count += 1
        connection.sendall(CUTS[where])

    with talking(talk) as url:
        if where in ("in the headers", "with a wrong length"):  # empty, so no verdict either
            answer = request("POST", url, bearer=Secret(KEY), allow_loopback=True)
            assert not answer.is_json
        else:
            error = failure(url, method="POST")
            assert error.sent
            assert error.retryable
    assert count == 1


def test_a_key_that_cannot_travel_in_a_header_is_not_sent_and_not_shown() -> None:
    """B13: the library's error repeats the whole header."""
    with serving(saying(200, OK)) as server:
        for odd in ("\n", "\r\nX-Injected: 1", "\u2014"):
            with pytest.raises(VendorError) as caught:
                request("GET", server.url, bearer=Secret(KEY + odd + KEY), allow_loopback=True)
            shown = "".join(traceback.format_exception(caught.value))
            assert not windows(KEY, 8) & windows(shown, 8)
        assert server.seen == []


@pytest.mark.parametrize(("name", "days"), [("127.0.0.1", 1), ("127.0.0.1", -1), ("x.test", 1)])
def test_a_certificate_that_is_not_trusted_is_refused_before_the_key_is_sent(
    name: str, days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B79: self-signed, expired or for another host; no bundle of the environment helps it."""
    pem, key = certificate(tmp_path, name, days=days)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(pem))
    with serving(saying(200, OK), tls_server(pem, key)) as server:
        error = failure(server.url)
        assert server.seen == []
    assert (error.code, error.sent) == ("tls", False)


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed", False),
        ("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac", True),
        ("EOF occurred in violation of protocol (_ssl.c:2427)", True),
    ],
)
def test_tls_that_breaks_off_in_mid_answer_may_have_been_carried_out(said: str, sent: bool) -> None:
    """B01: only a refused certificate proves that nothing was sent."""
    assert http._no_answer(requests.exceptions.SSLError(ssl.SSLError(1, said))).sent == sent


def test_a_server_that_speaks_no_tls_gets_no_key() -> None:
    with serving(saying(200, OK)) as server:
        failure(server.url.replace("http://", "https://"))
        assert server.seen == []


def test_debug_logging_prints_no_key(caplog: pytest.LogCaptureFixture) -> None:
    """B13: turning the root logger up does not turn the HTTP libraries up, nor shows a header."""
    with caplog.at_level(logging.DEBUG), serving(saying(200, OK)) as server:
        get(server.url, params={"label": "kv-1-1"})
        failure("http://127.0.0.1:9")
    for name in ("urllib3.connectionpool", "requests", "hvac.adapters"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    shown = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert not windows(KEY, 8) & windows(shown, 8)


# --- What the answer says ---


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("86400", 86400.0),
        ("9" * 400, http._LONGEST_WAIT),
        ("-1", None),
        ("1.5", None),
        ("\xb2", None),  # a superscript two is a digit to Python
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", http._LONGEST_WAIT),
        ("Wed, 99 Foo 12 07:28:00", None),
    ],
)
def test_it_reads_retry_after_as_seconds_or_date(header: str, seconds: float | None) -> None:
    """B64: a bad header is no wait, and none is longer than a month."""
    with serving(saying(429, OK, Retry_After=header)) as server:
        assert get(server.url).retry_after == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("86400", 86400.0),
        ("0.5", 0.5),
        ("1e308", http._LONGEST_WAIT),
        ("Infinity", http._LONGEST_WAIT),
        ("NaN", None),
        ("-5", None),
        ("true", None),
        ('"60"', None),
        ("1" + "0" * 400, http._LONGEST_WAIT),
    ],
)
def test_the_body_may_ask_for_a_wait_too(said: str, seconds: float | None) -> None:
    body = b'{"success": false, "error": {"retry_after": %s}}' % said.encode()
    with serving(saying(429, body)) as server:
        assert get(server.url).retry_after == seconds


@given(
    st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} \d+ \d+:\d+:\d+")
)
def test_no_retry_after_header_breaks_the_call(header: str) -> None:
    seconds = retry_after.seconds(header)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("kind", "is_json"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("APPLICATION/JSON", True),
        ("application/problem+json", True),
        ("text/html", False),
        ("text/json-but-not-really", False),
        ("", False),
    ],
)
def test_only_what_calls_itself_json_is_json(kind: str, is_json: bool) -> None:
    """B08."""
    with serving(saying(200, OK, kind)) as server:
        answer = get(server.url)
    assert (answer.is_json, answer.body) == (is_json, OK if is_json else None)


def test_threads_do_not_share_a_connection() -> None:
    """An answer must never go to another call."""
    sessions = []

    def take() -> None:
        sessions.append(http._session(True))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert sessions[0] is not sessions[1]
    assert http._session(True) is http._session(True)
    assert http._session(True) is not http._session(False)
