"""A secret is kept for a minute, and what is current is asked for each fetch: never a stale one."""

import threading
from typing import Any

import pytest
from django.db import connections

from keyvault import fetching, secret_cache, secret_store, tokens, versions
from keyvault.audit import crosscheck
from keyvault.audit.models import AuditEvent
from keyvault.errors import KeyServiceError, NotFound
from keyvault.models import ApiKey, KeyVersion, ServiceToken
from keyvault.secret_text import Secret
from keyvault.tokens import TokenRefused
from rotation import workflow
from rotation.models import Reason
from tests.api_client import counting
from tests.factories import make_key, secret_of
from tests.keyvault.test_fetching import next_version
from tests.keyvault.vault import vault_at
from tests.rotation.driving import drive
from tests.waiting import until


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def token(people: Any, place: Any) -> str:
    return tokens.issue(people.owner, "app", place.application, place.environment)[1].reveal()


def given(token: str, key: ApiKey) -> str:
    secret = fetching.fetch(token, key.pk).secret
    assert secret is not None
    return secret.reveal()


def test_the_store_is_asked_once_and_every_fetch_is_on_record(
    stack: Any, token: str, key: ApiKey
) -> None:
    def reads() -> int:
        assert key.current is not None
        log: str = stack.openbao.audit_log.read_text()
        return log.count(f"keys/{key.current.path}")

    first = given(token, key)
    before = reads()
    assert {given(token, key) for _ in range(5)} == {first}
    assert reads() == before
    rows = AuditEvent.objects.filter(action="secret.fetched", outcome="ok")
    assert rows.count() == 6
    assert sum('"from_memory"' in row.payload for row in rows) == 5


def test_a_number_that_no_key_has_is_not_found(token: str, key: ApiKey) -> None:
    for number in (0, 2**63 - 1, 2**63, 10**30):
        with pytest.raises(NotFound):
            fetching.fetch(token, number)


def test_a_steady_fetch_costs_two_statements(token: str, key: ApiKey) -> None:
    """P4: one to decide, one for the audit row."""
    given(token, key)
    with counting() as statements:
        given(token, key)
    assert len(statements) == 2, statements


def test_the_next_fetch_after_a_publication_gives_the_new_secret(token: str, key: ApiKey) -> None:
    given(token, key)
    version = next_version(key)
    assert given(token, key) == secret_of(version)


def test_no_fetch_gives_an_older_secret_than_one_before_it_while_keys_rotate(
    token: str, key: ApiKey
) -> None:
    """Eight programs at once, twenty publications: what each gets never goes back."""
    order = {secret_of(KeyVersion.objects.get(key=key)): 0}
    stop, wrong = threading.Event(), []

    def program() -> None:
        last = 0
        while not stop.is_set():
            number = order.get(given(token, key))
            if number is None or number < last:
                wrong.append((number, last))
            last = max(last, number or 0)
        connections.close_all()

    threads = [threading.Thread(target=program) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(1, 21):
        secret = Secret(f"inf_the-secret-of-number-{number:03}-and-more")
        order[secret.reveal()] = number
        version = versions.draft(key, secret, source="test", added_by=None)
        versions.put_secret(version, secret)
        versions.save_next(version)
        from django.db import transaction

        with transaction.atomic():
            versions.publish(version)
        assert given(token, key) == secret.reveal(), "at once, whoever has what in memory"
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_deleted_version_and_a_dead_token_get_nothing_from_memory(
    vendor: Any, people: Any, token: str, key: ApiKey
) -> None:
    old = given(token, key)
    rotation, _ = workflow.start(people.operator, key, Reason.LEAK, overlap_seconds=0)
    drive(rotation)
    assert given(token, key) != old
    tokens.revoke(people.owner, ServiceToken.objects.get(name="app"))
    with pytest.raises(TokenRefused):
        fetching.fetch(token, key.pk)


def test_what_is_in_memory_is_given_while_the_store_is_away_and_for_a_minute_only(
    token: str, key: ApiKey, settings: Any, vendor: Any, place: Any, people: Any
) -> None:
    other = make_key(vendor, place, people.owner, name="never fetched")
    settings.FETCH_CACHE_SECONDS = 1.0
    secret = given(token, key)
    with vault_at("http://127.0.0.1:9"):
        assert given(token, key) == secret
        with pytest.raises(KeyServiceError):
            given(token, other)
        until(lambda: secret_cache.get(key.current.path) is None, what="the second to pass")  # type: ignore[union-attr]
        with pytest.raises(KeyServiceError):
            given(token, key)
    secret_store.forget_login()


def test_nothing_is_kept_with_the_setting_off(token: str, key: ApiKey, settings: Any) -> None:
    settings.FETCH_CACHE_SECONDS = 0.0
    given(token, key)
    assert key.current is not None
    assert secret_cache.get(key.current.path) is None


@pytest.mark.pure
def test_so_many_are_kept_and_the_oldest_goes_first(settings: Any) -> None:
    import uuid

    secret_cache.forget()
    paths = [uuid.uuid4() for _ in range(5001)]
    for path in paths:
        secret_cache.put(path, Secret("short"))
    assert secret_cache.get(paths[0]) is None
    assert secret_cache.get(paths[-1]) is not None
    secret_cache.forget()


def test_the_nightly_comparison_misses_no_read_for_what_came_from_memory(
    stack: Any, token: str, key: ApiKey
) -> None:
    for _ in range(3):
        given(token, key)
    rows = AuditEvent.objects.filter(action="secret.fetched")
    first, last = rows.order_by("seq")[0].at, rows.order_by("-seq")[0].at
    seen = {rows.order_by("seq")[0].request_id}
    slack = crosscheck._SLACK
    assert list(crosscheck._unseen(seen, first - 2 * slack, last + 2 * slack)) == []
    one = list(crosscheck._unseen(set(), first - 2 * slack, last + 2 * slack))
    assert [finding.kind for finding in one] == ["unseen"], "the first one did ask the store"
