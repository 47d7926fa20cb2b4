"""A part is away: pages and programs get a clear word at once, and all is well when it is back."""

import pytest
import requests

from keyvault.vault import secret_store
from rotation.consumers import registry
from tests.factories import make_key, secret_of
from tests.waiting import until


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def bearer(people, place):
    new = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    return {"Authorization": f"Bearer {new.token.reveal()}"}


def test_programs_and_pages_while_vault_is_away(stack, live_url, client, people, key, bearer):
    """Reading needs Vault and says so; what needs no secret works on."""
    url = f"{live_url}/api/v1/keys/{key.pk}/secret"
    stack.openbao.stop()
    try:
        answer = requests.get(url, headers=bearer, timeout=10)
        assert answer.status_code == 503
        assert answer.json()["code"] == "vault_unavailable"
        assert "No secret was lost" in answer.json()["message"]
        assert requests.get(f"{live_url}/health/ready", timeout=10).status_code == 503
        client.force_login(people.owner)
        assert client.get("/").status_code == 200
        assert client.get(f"/keys/{key.pk}/").status_code == 200
    finally:
        stack.openbao.start()
        secret_store.forget_login()
    told = until(
        lambda: requests.get(url, headers=bearer, timeout=10).json().get("secret"), 20, "the secret"
    )
    assert told == secret_of(key.current)


def test_programs_and_pages_while_postgres_is_away(stack, live_url, key, bearer):
    """Without the audit log nothing leaves; the answer is short, ours, and holds no trace."""
    from django.db import connections

    url = f"{live_url}/api/v1/keys/{key.pk}/secret"
    secret = secret_of(key.current)
    stack.postgres.stop()
    try:
        answer = requests.get(url, headers=bearer, timeout=20)
        assert answer.status_code in (500, 503)
        assert set(answer.json()) == {"code", "message", "details"}
        page = requests.get(f"{live_url}/sign-in", timeout=20)
        ready = requests.get(f"{live_url}/health/ready", timeout=20)
        assert ready.status_code == 503
        for text in (answer.text, page.text, ready.text):
            assert secret not in text
            assert "Traceback" not in text
            assert "psycopg" not in text
    finally:
        stack.postgres.start()
        connections.close_all()
    told = until(
        lambda: requests.get(url, headers=bearer, timeout=20).json().get("secret"), 20, "the secret"
    )
    assert told == secret
