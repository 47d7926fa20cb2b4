"""The sample application against the real sandbox vendor and a small key service written here."""

import hashlib
import hmac
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from sandbox.vendor_client import VendorClient
from tests.sandbox.running import Module, call, running_vendor
from tests.waiting import until

KEY_ID = 7
TOKEN = "kvt_tests-only-service-token-0123456789"
HOOK_SECRET = "whsec_dGVzdHMtb25seS13ZWJob29rLXNlY3JldC0wMTIz"
PATH = f"/api/v1/keys/{KEY_ID}"


class KeyService:
    """Speaks the two routes of Key Vault that an application uses; answers can be changed."""

    def __init__(self) -> None:
        self.account = ""
        self.keys: list[str] = []
        self.secret, self.version = "", 0
        self.broken_status: int | None = None
        self.nonces: dict[str, int] = {}
        self.acknowledged: list[int] = []
        self.acknowledged_at = ""
        self.seen: list[tuple[str, str]] = []

    def set(self, secret: str) -> None:
        self.secret, self.version = secret, self.version + 1

    def get_secret(self, known: str | None) -> tuple[int, Any]:
        if known == self.etag:
            return 304, None
        return 200, {
            "key_id": KEY_ID,
            "version": self.version,
            "version_id": 100 + self.version,
            "secret": self.secret,
            "fetched_at": datetime.now(UTC).isoformat(),
        }

    def get_nonce(self) -> tuple[int, Any]:
        nonce = os.urandom(8).hex()
        self.nonces[nonce] = self.version
        return 200, {"nonce": nonce, "version": self.version}

    def take_proof(self, body: Any) -> tuple[int, Any]:
        message = f"keyvault-ack:v1:{body['nonce']}:{KEY_ID}:{body['version']}"
        wanted = hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        nonce_is_good = self.nonces.pop(body["nonce"], None) == body["version"] == self.version
        if not nonce_is_good or body["proof"] != wanted:
            return 400, {"code": "bad_input", "message": "wrong proof", "details": {}}
        self.acknowledged.append(body["version"])
        self.acknowledged_at = datetime.now(UTC).isoformat(timespec="microseconds")
        return 200, {"version": body["version"]}

    @property
    def etag(self) -> str:
        return f'"{100 + self.version}"'

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.seen.append((method, path))
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"code": "token_refused"}
        if self.broken_status is not None:
            return self.broken_status, {"code": "broken", "message": f"it was {self.secret}"}
        if (method, path) == ("GET", f"{PATH}/secret"):
            return self.get_secret(headers.get("If-None-Match"))
        if (method, path) == ("GET", f"{PATH}/acknowledge"):
            return self.get_nonce()
        if (method, path) == ("POST", f"{PATH}/acknowledge"):
            return self.take_proof(json.loads(body))
        return 404, {"code": "not_found"}


@contextmanager
def serving(service: KeyService, port: int = 0) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            status, value = service.answer(self.command, self.path, self.headers, body)
            data = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("ETag", service.etag)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class App(Module):
    """The application with its status."""

    def status(self) -> Any:
        try:
            return json.loads((self.folder / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def until(self, condition: Any, seconds: float = 15, what: str = "") -> Any:
        def met() -> Any:
            status = self.status()
            return status if status and condition(status) else None

        return until(met, seconds, what or "the application")

    def hook(self, message: Any, secret: str = HOOK_SECRET, age: float = 0) -> int:
        body = json.dumps(message)
        # The library takes the clock face of the time it is given as UTC.
        moment = datetime.now(UTC) - timedelta(seconds=age)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", moment, body),
        }
        url = f"http://127.0.0.1:{self.status()['port']}/"
        return call("POST", url, headers=headers, data=body).status_code


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VendorClient]:
    with running_vendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor.client


@pytest.fixture
def service(client: VendorClient) -> KeyService:
    made = KeyService()
    made.account = client.create_account("Example Ltd")["id"]
    made.keys = [client.create_key(made.account)["key"] for _ in range(2)]
    made.set(made.keys[0])
    return made


@pytest.fixture
def port(service: KeyService) -> Iterator[int]:
    with serving(service) as port:
        yield port


@contextmanager
def running_app(folder: Path, port: int, client: VendorClient) -> Iterator[App]:
    config = {
        "keyvault_url": f"http://127.0.0.1:{port}",
        "key_id": KEY_ID,
        "vendor_url": client.url,
        "token": TOKEN,
        "webhook_secret": HOOK_SECRET,
        "port": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    app = App("sandbox.app", folder)
    try:
        yield app
    finally:
        app.stop()


@pytest.fixture
def app(tmp_path: Path, port: int, client: VendorClient) -> Iterator[App]:
    with running_app(tmp_path, port, client) as running:
        running.until(lambda status: status["ok"] and status["acknowledged_version"])
        yield running


NEWS = {"type": "key.updated", "key_id": KEY_ID, "version": 2}


def test_it_fetches_calls_twice_a_second_and_acknowledges_once(client, service, app):
    ledger_start = client.ledger()[-1]["n"]
    status = app.until(lambda status: status["calls"] >= 6)
    assert status == {
        **status,
        "pid": app.popen.pid,
        "version_held": 1,
        "refused": 0,
        "other": 0,
        "acknowledged_version": 1,
        "last_error": "",
    }
    assert status["ok"] == status["calls"]
    assert service.acknowledged == [1]
    calls = [entry["time"] for entry in client.ledger(after=ledger_start, route="track")]
    moments = [datetime.fromisoformat(moment) for moment in calls]
    assert (moments[-1] - moments[0]) / (len(moments) - 1) > timedelta(seconds=0.4)


def test_a_webhook_makes_it_switch_at_once_without_one_refused_call(client, service, app):
    service.set(service.keys[1])
    start = time.monotonic()
    assert app.hook(NEWS) == 204
    status = app.until(lambda status: status["acknowledged_version"] == 2)
    assert time.monotonic() - start < 4, "it waited for its poll"
    assert (status["version_held"], status["webhooks"]) == (2, 1)
    assert service.acknowledged == [1, 2]
    client.delete_key_by_secret(service.keys[0])
    calls = status["calls"]
    status = app.until(lambda status: status["calls"] >= calls + 3)
    assert (status["refused"], status["other"]) == (0, 0)


def test_it_acknowledges_only_when_no_call_uses_the_old_key_any_more(client, service, app):
    old = client.lookup(service.keys[0])["id"]
    client.fault("track", "delay", seconds=1.0, key_id=old)
    until(lambda: client.faults()[-1]["used"], 5)
    service.set(service.keys[1])
    app.hook(NEWS)
    app.until(lambda status: status["acknowledged_version"] == 2)
    calls = app.status()["calls"]
    app.until(lambda status: status["calls"] >= calls + 2)
    entries = client.ledger(account=service.account, route="track")
    late = [e for e in entries if e["key"] == old and e["time"] > service.acknowledged_at]
    assert late == []
    # Whether one more call with the old key came between the held one and the switch is chance.
    assert "delay" in [e["fault"] for e in entries if e["key"] == old]


def test_a_webhook_that_is_not_key_vaults_is_refused(service, app):
    service.set(service.keys[1])
    wrong = "whsec_" + "d3Jvbmctd3Jvbmctd3JvbmctMDEyMzQ1Njc4OTAx"
    assert app.hook(NEWS, secret=wrong) == 401
    assert app.hook(NEWS, age=3600) == 401
    url = f"http://127.0.0.1:{app.status()['port']}/"
    assert call("POST", url, json=NEWS).status_code == 401
    assert call("POST", url, data=b"x" * 70_000).status_code == 413
    assert app.hook({**NEWS, "key_id": 8}) == 204
    assert app.hook({**NEWS, "type": "key.other"}) == 204
    assert app.hook(["no", "object"]) == 204
    status = app.status()
    assert (status["version_held"], status["webhooks"]) == (1, 0)


def test_its_poll_finds_a_new_version_without_any_webhook(service, app):
    service.set(service.keys[1])
    status = app.until(lambda status: status["acknowledged_version"] == 2)
    assert (status["webhooks"], status["refused"]) == (0, 0)


def test_a_refused_call_makes_it_fetch_at_once(client, service, app):
    client.delete_key_by_secret(service.keys[0])
    service.set(service.keys[1])
    start = time.monotonic()
    status = app.until(lambda status: status["version_held"] == 2)
    assert time.monotonic() - start < 4, "it waited for its poll"
    assert status["refused"] >= 1
    ok = status["ok"]
    app.until(lambda status: status["ok"] > ok and status["acknowledged_version"] == 2)


@pytest.mark.parametrize("envelope", ["flat", "nested"])
def test_only_the_vendors_own_refusal_counts_as_refused(client, service, app, envelope):
    client.patch_account(service.account, envelope=envelope)
    for kind, options in (("html", {"status": 401}), ("empty", {}), ("status", {"status": 503})):
        client.fault("track", kind, account=service.account, **options)
    status = app.until(lambda status: status["ok"] and client.faults()[-1]["used"] != 0)
    client.clear_faults()
    assert status["refused"] == 0
    client.delete_key_by_secret(service.keys[0])
    app.until(lambda status: status["refused"] >= 1)


def test_it_goes_on_with_its_key_while_key_vault_is_away(tmp_path, client, service):
    with serving(service) as port, running_app(tmp_path, port, client) as app:
        app.until(lambda status: status["ok"] and status["acknowledged_version"])
        service.broken_status = 503
        app.hook(NEWS)
        app.until(lambda status: "503" in status["last_error"])
        calls = app.status()["calls"]
        status = app.until(lambda status: status["calls"] >= calls + 3)
        assert status["ok"] == status["calls"]
        service.broken_status = None
        app.until(lambda status: status["last_error"] == "")
        service.broken_status = 500
        service.set(service.keys[1])
        app.hook(NEWS)
        app.until(lambda status: "500" in status["last_error"])
        service.broken_status = None
        app.until(lambda status: status["acknowledged_version"] == 2)


def test_it_waits_for_key_vault_when_that_is_down_at_its_start(tmp_path, client, service):
    with serving(service) as port:
        pass
    with running_app(tmp_path, port, client) as app:
        status = app.until(lambda status: "cannot be reached" in status["last_error"])
        assert (status["version_held"], status["calls"]) == (None, 0)
        with serving(service, port):
            app.until(lambda status: status["ok"] and status["acknowledged_version"] == 1)


def test_a_rotation_between_fetch_and_acknowledgement_is_noticed(service, app):
    """The nonce names another version than the one held: fetch again, never acknowledge blindly."""
    give = service.get_nonce

    def rotated_meanwhile() -> Any:
        service.get_nonce = give
        service.set(service.keys[0])
        return give()

    service.get_nonce = rotated_meanwhile
    service.set(service.keys[1])
    app.hook(NEWS)
    app.until(lambda status: status["acknowledged_version"] == 3)
    assert service.acknowledged == [1, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_a_second_even_while_a_call_hangs(client, service, app, number):
    client.fault("track", "execute_then_hang", times=None, account=service.account)
    until(lambda: client.faults()[-1]["used"], 5)
    start = time.monotonic()
    try:
        assert app.stop(number) == 0
    finally:
        client.clear_faults()
    assert time.monotonic() - start < 1


def test_neither_status_nor_log_holds_a_secret(service, app):
    service.broken_status = 500
    app.hook(NEWS)
    app.until(lambda status: "500" in status["last_error"])
    app.stop()
    said = app.log.read_text() + (app.folder / "status.json").read_text()
    assert "holds version 1" in said
    for secret in (*service.keys, TOKEN, HOOK_SECRET):
        assert secret not in said
    assert stat.S_IMODE((app.folder / "status.json").stat().st_mode) == 0o600
