"""What no role is ever sent, in any answer of any route: paths, fingerprints, digests, secrets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from keyvault.delivery import tokens
from keyvault.inventory import accounts
from keyvault.models import ApiKey, KeyVersion, Member, Role, ServiceToken, VendorAccount
from rotation.consumers import registry
from rotation.engine import lifecycle
from rotation.models import Consumer, Reason
from tests.api_client import sign_in
from tests.factories import grant, make_key, make_member, secret_of
from tests.test_roles_matrix import ROUTES

SECRET_FIELDS = {
    "path",
    "fingerprint",
    "digest",
    "former_digest",
    "management_path",
    "webhook_path",
    "webhook_secret",
    "management_credential",
    "password",
    "session_data",
    "secret",
    "token",
}
# A service token's facts are an object of this name in a consumer; its text is a string.
_OBJECTS = {"token"}


@pytest.fixture
def hidden(database: None, vendor: Any, place: Any, people: Any) -> set[str]:
    """Fill every table that is shown, and return the values that must stay inside."""
    key = make_key(vendor, place, people.owner)
    new = registry.add_consumer(
        people.owner, "web", place.application, place.environment, webhook_url="http://127.0.0.1:9/"
    )
    _, text = tokens.issue(people.owner, "cron", place.application, place.environment)
    vendor.create_account("second", management_credential="canary-management-credential-1")
    account = accounts.add_account(
        people.owner,
        name="Second",
        provider="sandbox",
        base_url=vendor.url,
        management_credential="canary-management-credential-1",
    )
    lifecycle.start(people.operator, key, Reason.MANUAL)
    assert new.webhook_secret
    values = {
        secret_of(key.current),
        new.token.reveal(),
        new.webhook_secret.reveal(),
        text.reveal(),
    }
    values |= {str(one.path) for one in KeyVersion.objects.all()}
    values |= {one.fingerprint for one in KeyVersion.objects.all()}
    values |= {one.digest for one in ServiceToken.objects.all()}
    values |= {str(Consumer.objects.get().webhook_path), str(account.management_path)}
    values |= {member.password for member in Member.objects.all() if member.password}
    assert VendorAccount.objects.count() == 3
    assert ApiKey.objects.count() == 1
    return values - {"None", ""}


def fields(said: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(said, dict):
        for name, value in said.items():
            yield name, value
            yield from fields(value)
    if isinstance(said, list):
        for one in said:
            yield from fields(one)


def answers(member: Member) -> Iterator[tuple[str, Any]]:
    client = sign_in(Client(), member)
    for path in ROUTES:
        if not path.startswith(("/account/", "/sign-out", "/scim/")):
            yield path, client.get(path)


def test_no_role_is_sent_what_only_the_service_needs(hidden: set[str], people: Any) -> None:
    """AC-3: T:field_matrix; over every route, so a new one is in it."""
    named: dict[str, set[str]] = {}
    for role in Role:
        member = grant(make_member(f"{role}-m@example.com"), role)
        named[role] = set()
        read = 0
        for path, answer in answers(member):
            text = answer.content.decode() if not answer.streaming else ""
            found = [value for value in hidden if value in text]
            assert not found, (role, path)
            read += answer.status_code == 200
            if answer.headers.get("Content-Type", "").startswith("application/json"):
                told = dict(fields(json.loads(text)))
                bad = {
                    name
                    for name in SECRET_FIELDS & set(told)
                    if not (name in _OBJECTS and isinstance(told[name], dict))
                }
                assert not bad or "openapi" in told, (role, path, bad)
                named[role] |= set(told)
        assert read > 10, role
    assert named[Role.VIEWER] <= named[Role.OWNER]
    assert "results" in named[Role.VIEWER]
