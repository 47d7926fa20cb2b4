"""How the secret store logs in and whom it believes: odd answers, TLS, ended tokens, forks."""

import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from keyvault.core.errors import KeyServiceError
from keyvault.vault import http_session, secret_store
from keyvault.vault.secret_store import StoreDenied, StoreUnavailable
from tests.keyvault.helpers import saying, serving
from tests.keyvault.vault import VALUE, acting_as, inspector, logins, unavailable, vault_at
from tests.rotation.providers.sockets import certificate, tls_server

ODD_ANSWERS = {
    "redirect": (302, b"", "text/html"),
    "permanent redirect": (308, b"", "application/json"),
    "HTML page": (200, b"<html>Sign in</html>", "text/html"),
    "empty": (200, b"", "application/json"),
    "cut": (200, b'{"data": {"da', "application/json"),
    "list": (200, b"[1, 2]", "application/json"),
    "text": (200, b'"ok"', "application/json"),
    "null": (200, b"null", "application/json"),
    "nothing in it": (200, b"{}", "application/json"),
    "wrong shape": (200, b'{"data": {"data": ["x"]}, "auth": []}', "application/json"),
    "no content": (204, b"", ""),
    "error as a list": (500, b"[]", "application/json"),
    "error as a page": (502, b"<html>", "text/html"),
    "rate limit": (429, b'{"errors": ["slow down"]}', "application/json"),
    "teapot": (418, b'{"errors": null}', "application/json"),
}


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_an_odd_answer_is_never_taken_for_a_login(bao: Any, odd: str) -> None:
    """A balancer's redirect or page, or a proxy's JSON, is not Vault's word."""
    status, body, kind = ODD_ANSWERS[odd]
    with serving(saying(status, body, kind, Location="/x")) as server:
        unavailable(server.url)
        assert len(server.seen) == 1


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_an_odd_answer_is_never_taken_for_a_secret_or_a_success(bao: Any, odd: str) -> None:
    """B24: a write that was not carried out must not look as if it had been."""
    status, body, kind = ODD_ANSWERS[odd]
    login = {"auth": {"client_token": "s.of-a-stand-in-0123456789ab", "lease_duration": 60}}

    def answer(handler: Any) -> None:
        if handler.path.endswith("/login"):
            saying(200, login)(handler)
        else:
            saying(status, body, kind, Location="/x")(handler)

    with serving(answer) as server, vault_at(server.url):
        with pytest.raises(StoreUnavailable):
            secret_store.read("keys", uuid.uuid4())
        with pytest.raises(StoreUnavailable):
            secret_store.write_once("keys", uuid.uuid4(), VALUE)
        with pytest.raises(StoreUnavailable):
            secret_store.destroy("keys", uuid.uuid4())


@pytest.mark.pure
@pytest.mark.parametrize("odd", ["redirect", "permanent redirect", "HTML page"])
def test_the_session_itself_refuses_redirects_and_pages(odd: str) -> None:
    """hvac calls each of them a success."""
    status, body, kind = ODD_ANSWERS[odd]
    answer = saying(status, body, kind, Location="/x")
    with (
        serving(answer) as server,
        http_session.make() as session,
        pytest.raises(requests.RequestException),
    ):
        session.get(server.url, allow_redirects=False)


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_health_never_raises(bao: Any, odd: str) -> None:
    status, body, kind = ODD_ANSWERS[odd]
    with serving(saying(status, body, kind, Location="/x")) as server, vault_at(server.url):
        assert secret_store.health() == {
            "reachable": False,
            "sealed": None,
            "active": False,
            "server_time": None,
        }


def test_no_error_holds_the_secret_or_the_token(bao: Any, path: uuid.UUID) -> None:
    """B10: neither in its text nor in its details."""
    errors: list[KeyServiceError] = []
    for call in (
        lambda: secret_store.write_once("keys", path, VALUE),
        lambda: secret_store.read("keys", uuid.uuid4()),
    ):
        with pytest.raises(KeyServiceError) as caught:
            call()
        errors.append(caught.value)
    token = secret_store._client().token
    for error in errors:
        assert VALUE["secret"] not in repr(vars(error)) + str(error.__cause__)
        assert token not in repr(vars(error)) + str(error.__cause__)
        assert error.__suppress_context__


def test_no_address_is_a_setting_to_mend(bao: Any) -> None:
    with vault_at(""), pytest.raises(ImproperlyConfigured, match="VAULT_ADDR"):
        secret_store.read("keys", uuid.uuid4())


# --- TLS ---


def test_only_our_own_setting_says_which_authority_is_trusted(
    bao: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B79: a bundle in the environment neither opens nor closes the way; nor does a bad file."""
    pem, key = certificate(tmp_path)
    with serving(saying(503, {"errors": []}), tls_server(pem, key)) as server:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(pem))
        unavailable(server.url)
        assert server.seen == []
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
        with override_settings(VAULT_CACERT=str(pem)):
            unavailable(server.url)
            assert len(server.seen) == 1
            with vault_at(server.url):
                assert secret_store.health()["reachable"] is False
            assert len(server.seen) == 2


@pytest.mark.parametrize(("name", "days"), [("127.0.0.1", -1), ("vault.test", 1)])
def test_an_expired_or_foreign_certificate_is_refused(
    bao: Any, tmp_path: Path, name: str, days: int
) -> None:
    """B79: there is no fall-back to no check."""
    pem, key = certificate(tmp_path, name, days=days)
    with serving(saying(200, {}), tls_server(pem, key)) as server:
        with override_settings(VAULT_CACERT=str(pem)):
            unavailable(server.url)
        assert server.seen == []


def test_no_proxy_of_the_environment_sees_the_way_to_vault(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(saying(200, {})) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert secret_store.read("keys", path) == VALUE
        assert secret_store.health()["active"]
        assert proxy.seen == []


# --- The login ---


def test_no_token_of_the_environment_or_a_file_is_ever_used(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TM-25: a broad token lying about must not lend its rights to a web process."""
    broad = inspector(bao).token
    (tmp_path / ".vault-token").write_text(broad)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.setenv(name, broad)
    with acting_as(bao, "web", monkeypatch):
        secret_store.read("keys", path)
        assert secret_store._client().token != broad
        with pytest.raises(StoreDenied):
            secret_store.destroy("keys", path)
    with serving(saying(400, {"errors": ["invalid role or secret ID"]})) as server:
        with vault_at(server.url), pytest.raises(StoreDenied):
            secret_store.read("keys", path)
        assert not any("X-Vault-Token" in seen.headers for seen in server.seen)


def test_many_reads_need_one_login(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B35, B56: limited uses of a secret-id are not eaten up."""
    with acting_as(bao, "web", monkeypatch):
        before = logins(bao, "web")
        threads = [
            threading.Thread(target=secret_store.read, args=("keys", path)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert logins(bao, "web") == before + 1


@pytest.mark.parametrize("threads", [1, 6])
def test_an_ended_token_leads_to_a_new_login_and_no_error(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """B35: revoked or at the end of its life: one check of itself, one login, one more try."""
    with acting_as(bao, "worker", monkeypatch):
        secret_store.read("keys", path)
        inspector(bao).auth.token.revoke(secret_store._client().token)
        results: list[Any] = []

        def read() -> None:
            try:
                results.append(secret_store.read("keys", path))
            except KeyServiceError as error:
                results.append(error)

        before = logins(bao, "worker")
        running = [threading.Thread(target=read) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert results == [VALUE] * threads
        assert logins(bao, "worker") == before + 1


def test_a_short_lived_token_is_replaced_before_it_ends(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B35: a token of 3 s under steady reads: no error, and logins at two thirds of its life."""
    client = inspector(bao)
    role = client.read("auth/approle/role/web")["data"]
    client.write_data("auth/approle/role/web", data={"token_ttl": 3, "token_max_ttl": 3})
    try:
        with acting_as(bao, "web", monkeypatch):
            before, ends, reads = logins(bao, "web"), time.monotonic() + 5, 0
            while time.monotonic() < ends:
                assert secret_store.read("keys", path) == VALUE
                reads += 1
            assert reads > 50
            assert 2 <= logins(bao, "web") - before <= 4
    finally:
        life = {name: role[name] for name in ("token_ttl", "token_max_ttl")}
        client.write_data("auth/approle/role/web", data=life)


def test_a_replaced_secret_id_file_takes_effect_without_a_restart(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """B56: exhausted or wrong is told clearly; the new file is read at the next login."""
    file = tmp_path / "secret-id"
    file.write_text("wrong\n")
    with override_settings(VAULT_ROLE_ID=bao.credentials("web")[0]):
        monkeypatch.setenv("VAULT_SECRET_ID_FILE", str(file))
        secret_store.forget_login()
        with pytest.raises(StoreDenied, match="secret-id"):
            secret_store.read("keys", path)
        file.unlink()
        with pytest.raises(StoreDenied, match="secret-id"):
            secret_store.read("keys", path)
        file.write_text(bao.credentials("web")[1] + "\n")
        assert secret_store.read("keys", path) == VALUE


def test_a_forked_process_logs_in_for_itself(bao: Any, path: uuid.UUID) -> None:
    """A connection or a lock shared with the parent would mix up answers or hang."""
    parents = secret_store._client()
    reader, writer = os.pipe()
    with secret_store._lock:  # as if another thread were logging in at that moment
        child = os.fork()
        if child == 0:
            try:
                same = secret_store._login is not None
                right = secret_store.read("keys", path) == VALUE
                own = secret_store._client() is not parents
                os.write(writer, b"ok" if right and own and not same else b"wrong")
            finally:
                os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said == b"ok"
    assert secret_store._client() is parents
