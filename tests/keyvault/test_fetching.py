"""Applications get their own keys: the right ones, recorded first, and once for each version."""

from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import Conflict, NotFound
from keyvault.core.secret import Secret
from keyvault.delivery import fetch as fetching
from keyvault.delivery import tokens
from keyvault.delivery.fetch import etag, fetch, fetch_all
from keyvault.inventory import versions
from keyvault.models import ApiKey, Application, ServiceToken, TokenKeyVersion, VersionState
from keyvault.vault import secret_store
from tests.factories import make_key, secret_of


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> Any:
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def token(people: Any, place: Any) -> str:
    return tokens.issue(people.owner, "app", place.application, place.environment)[1].reveal()


def fetches() -> list[str]:
    rows = AuditEvent.objects.filter(action="secret.fetched").order_by("seq")
    return [row.outcome for row in rows]


def next_version(key: Any, which: str = "") -> Any:
    """Publish another version of `key`."""
    secret = Secret(f"inf_next-secret-of-{key.name}{which}")
    version = versions.draft_version(key, secret, source="test", added_by=None)
    version.state = VersionState.PENDING
    versions.put_secret(version, secret)
    versions.save_next(version)
    with transaction.atomic():
        versions.publish(version)
    return version


def test_a_token_gets_the_current_secret_and_the_fetch_is_recorded(key: Any, token: str) -> None:
    got = fetch(token, key.pk)
    assert got.secret is not None
    assert got.secret.reveal() == secret_of(key.current)
    row = AuditEvent.objects.get(action="secret.fetched")
    assert (row.actor_kind, row.outcome, row.key_id) == ("token", "ok", key.pk)
    held = TokenKeyVersion.objects.get()
    assert (held.key, held.version) == (key, key.current)


def test_a_known_version_releases_nothing_and_writes_no_row(key: Any, token: str) -> None:
    tag = etag(fetch(token, key.pk).version)
    for known in (tag, f'"0", {tag}', f"W/{tag}"):
        assert fetch(token, key.pk, known).secret is None
    assert fetches() == ["ok"]
    assert TokenKeyVersion.objects.count() == 1


@pytest.mark.parametrize("known", ["", "*", '"0"', "{0}", "1{0}", '"1{0}"', '"{0}1"', "'{0}'"])
def test_any_other_tag_gets_the_secret(key: Any, token: str, known: str) -> None:
    """A tag that merely contains the number is another version's."""
    assert fetch(token, key.pk, known.format(key.current.pk)).secret is not None


def test_a_new_version_is_given_to_who_holds_the_old_one(key: Any, token: str) -> None:
    old = fetch(token, key.pk)
    first = TokenKeyVersion.objects.get()
    new = next_version(key)
    got = fetch(token, key.pk, etag(old.version))
    assert (got.version, got.secret is not None) == (new, True)
    held = TokenKeyVersion.objects.get()
    assert held.version == new
    assert held.first_at > first.first_at
    assert fetches() == ["ok", "ok"]


def test_a_token_gets_keys_of_its_own_place_only(
    vendor: Any, place: Any, people: Any, key: Any
) -> None:
    """Other application, other environment, a member's key, an unknown id: alike, and recorded."""
    other = Application.objects.create(name="Other")
    for application, environment in (
        (place.application, place.production),
        (other, place.environment),
    ):
        _, text = tokens.issue(people.owner, "elsewhere", application, environment)
        with pytest.raises(NotFound) as theirs:
            fetch(text.reveal(), key.pk)
        with pytest.raises(NotFound) as unknown:
            fetch(text.reveal(), 10**12)
        assert theirs.value.message == unknown.value.message
    assert fetches() == ["denied"] * 4
    assert not TokenKeyVersion.objects.exists()


def test_a_members_key_is_given_to_no_application(
    vendor: Any, place: Any, people: Any, token: str
) -> None:
    from keyvault.inventory.keys import NewKey, register_key

    made = vendor.create_key(place.vendor_manual["id"], label="mine")
    new = NewKey(place.manual_account, place.environment, "mine", member=people.viewer)
    mine = register_key(people.viewer, new, made["key"]).version.key
    with pytest.raises(NotFound):
        fetch(token, mine.pk)


def test_the_row_is_there_although_vault_then_fails(key: Any, token: str) -> None:
    """Recorded before it is read; and who got nothing is not noted as holding it."""
    secret_store.destroy("keys", key.current.path)
    with pytest.raises(secret_store.StoreMissing):
        fetch(token, key.pk)
    assert fetches() == ["ok"]
    assert not TokenKeyVersion.objects.exists()


def test_a_dead_token_gets_nothing(key: Any, token: str, people: Any) -> None:
    """B11: revoked, expired, damaged."""
    row = ServiceToken.objects.get()
    ServiceToken.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    with pytest.raises(tokens.TokenRefused):
        fetch(token, key.pk)
    ServiceToken.objects.filter(pk=row.pk).update(expires_at=None)
    tokens.revoke(people.owner, row)
    for text in (token, token[:-1], "", "kvt_"):
        with pytest.raises(tokens.TokenRefused):
            fetch(text, key.pk)
    assert fetches() == []
    assert AuditEvent.objects.filter(action="token.refused").count() == 5


def test_a_key_without_a_secret_is_a_conflict(key: Any, token: str) -> None:
    ApiKey.objects.filter(pk=key.pk).update(current=None)
    with pytest.raises(Conflict):
        fetch(token, key.pk)


def test_all_keys_of_a_place_come_with_one_row_and_one_tag(
    vendor: Any, place: Any, people: Any, key: Any, token: str
) -> None:
    second = make_key(vendor, place, people.owner, name="alpha")
    make_key(vendor, place, people.owner, environment=place.production)
    where = place.application.pk, place.environment.pk
    found, tag = fetch_all(token, *where)
    assert found is not None
    assert [one.key.name for one in found] == ["alpha", "billing"]
    for one, each in zip(found, (second, key), strict=True):
        assert one.secret is not None
        assert one.secret.reveal() == secret_of(each.current)
    assert fetches() == ["ok"]
    assert fetch_all(token, *where, tag) == (None, tag)
    assert fetches() == ["ok"]
    next_version(key)
    again, other = fetch_all(token, *where, tag)
    assert again is not None
    assert other != tag
    assert TokenKeyVersion.objects.count() == 2


def test_all_keys_of_another_place_are_not_found(place: Any, token: str, key: Any) -> None:
    for where in (
        (place.application.pk, place.production.pk),
        (place.application.pk + 999, place.environment.pk),
    ):
        with pytest.raises(NotFound):
            fetch_all(token, *where)
    assert fetches() == ["denied"] * 2


def test_fetching_again_moves_no_first_moment(key: Any, token: str) -> None:
    """Since when a version is held is the first fetch of it; the row is not written each time."""
    fetch(token, key.pk)
    before = TokenKeyVersion.objects.values().get()
    for _ in range(3):
        fetch(token, key.pk)
    assert TokenKeyVersion.objects.values().get() == before
    assert fetching.etag(key.current) == f'"{key.current.pk}"'


def test_a_flood_of_refused_tokens_leaves_few_rows(people: Any, settings: Any) -> None:
    """Each row takes the chain's lock: from one source the first twenty are told, then counted."""
    from keyvault.core.request_context import acting
    from keyvault.delivery import fetch as fetching
    from keyvault.delivery.tokens import TokenRefused

    for source in ("10.0.0.1", "10.0.0.2"):
        with acting("r", source):
            for _ in range(50):
                with pytest.raises(TokenRefused):
                    fetching.authenticate("kvt_nonsense")
    rows = AuditEvent.objects.filter(action="token.refused")
    assert rows.count() == 40
    assert sum("only counted" in row.payload for row in rows) == 2
