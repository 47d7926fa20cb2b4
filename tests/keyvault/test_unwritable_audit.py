"""F11, B15: with an audit log that cannot be written people may look and leave, and health says so."""

from typing import Any

import pytest
import requests
from django.db import connections
from django.test import Client

from keyvault.audit import log
from keyvault.audit.models import AuditEvent
from rotation import dependencies
from rotation.models import Rotation
from rotation.models.onboarding import SavedView
from rotation.monitoring import metrics, status
from tests.api_client import broken_audit, sign_in
from tests.factories import PASSWORD, make_key
from tests.waiting import until


@pytest.fixture(autouse=True)
def asked_anew() -> Any:
    log.forget()
    yield
    log.forget()


def enter(client: Client, password: str = PASSWORD) -> Any:
    return client.post("/sign-in", {"login": "operator@example.com", "password": password})


def test_a_person_can_look_and_nothing_else(vendor: Any, place: Any, people: Any) -> None:
    key = make_key(vendor, place, people.owner)
    client = Client(raise_request_exception=False)
    with broken_audit():
        assert enter(client).status_code == 302
        for path in ("/", "/keys/", f"/keys/{key.pk}/", "/rotations/"):
            page = client.get(path)
            assert page.status_code == 200
            assert "The audit log cannot be written" in page.content.decode()
        answer = client.post(f"/keys/{key.pk}/rotate", {"reason": "manual"})
        assert answer.status_code == 503
        assert "nothing was done" in answer.content.decode()
        answer = client.post(f"/api/v1/keys/{key.pk}/rotate", {}, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")
        # What is not put on record stays as it is too.
        kept = client.post("/views/keys/keep", {"name": "mine", "query": "state=active"})
        assert kept.status_code == 503
    assert not Rotation.objects.exists()
    assert not SavedView.objects.exists()


def test_the_sign_in_is_put_on_record_when_that_is_possible_again(people: Any) -> None:
    client = Client()
    with broken_audit():
        enter(client)
        assert not AuditEvent.objects.filter(action="member.signed_in").exists()
    page = client.get("/")
    assert "The audit log cannot be written" not in page.content.decode()
    row = AuditEvent.objects.get(action="member.signed_in")
    assert row.actor_id == str(people.operator.pk)
    assert "recorded late" in row.payload
    client.get("/")
    assert AuditEvent.objects.filter(action="member.signed_in").count() == 1


def test_a_wrong_password_opens_nothing_then_either(people: Any) -> None:
    client = Client()
    with broken_audit():
        assert enter(client, "not this").status_code == 503
        assert client.get("/").status_code == 302


def test_sign_out_works(people: Any) -> None:
    client = sign_in(Client(), people.operator)
    with broken_audit():
        assert client.post("/sign-out").status_code == 302
        assert client.get("/").status_code == 302


def test_health_is_not_ok(people: Any, live_url: str) -> None:
    assert log.writable()
    before = AuditEvent.objects.count()
    log.forget()
    with broken_audit():
        assert not dependencies.audit()
        said = status.problems(
            status.look(),
            dependencies.vault_state(),
            dependencies.broker_facts(),
            audit=dependencies.audit(),
        )
        assert any("audit log cannot be written" in text for text in said)
        assert b"keyvault_audit_writable 0.0" in metrics.text()
        ready = until(lambda: _unready(live_url), what="readiness to fall")
        assert (ready["audit"], ready["status"]) == ("unwritable", "unavailable")
    assert AuditEvent.objects.count() == before, "a try leaves nothing behind"


def _unready(url: str) -> Any:
    answer = requests.get(f"{url}/health/ready", timeout=10)
    return answer.json() if answer.status_code == 503 else None


def test_a_database_that_takes_nothing_says_so(people: Any) -> None:
    """Tries could not be counted, so nobody gets in; the page says why, and is no traceback."""
    role = connections["default"].settings_dict["USER"]
    client = Client(raise_request_exception=False)
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"REVOKE INSERT, UPDATE ON keyvault_tally FROM {role}")
        try:
            answer = enter(client)
            assert answer.status_code == 503
            assert "takes nothing now" in answer.content.decode()
        finally:
            cursor.execute(f"GRANT INSERT, UPDATE ON keyvault_tally TO {role}")
