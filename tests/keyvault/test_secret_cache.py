"""A secret is kept for a minute, and what is current is asked for each fetch: never a stale one."""

import threading
from datetime import timedelta
from json import loads
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from keyvault.audit import crosscheck
from keyvault.audit.log import AuditUnavailable
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import KeyServiceError, NotFound
from keyvault.core.request_context import acting
from keyvault.core.secret import Secret
from keyvault.delivery import fetch, tokens
from keyvault.delivery.tokens import TokenRefused
from keyvault.inventory import versions
from keyvault.models import ApiKey, KeyVersion, ServiceToken, TokenKeyVersion
from keyvault.vault import secret_cache, secret_store
from rotation.engine import lifecycle
from rotation.models import Reason
from tests.api_client import broken_audit, counting
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
    secret = fetch.fetch(token, key.pk).secret
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
            fetch.fetch(token, number)


def test_a_steady_fetch_costs_one_statement_and_its_row_says_the_same(
    token: str, key: ApiKey
) -> None:
    """P4: what was found a moment ago is confirmed, and the audit row written, in one call."""
    given(token, key)
    given(token, key)
    with counting() as statements:
        given(token, key)
    assert len(statements) == 1, statements
    fetch.forget()
    with counting() as statements:
        given(token, key)
    assert len(statements) == 2, "the whole way: one to decide, one for the row"
    *_, again, whole = AuditEvent.objects.filter(action="secret.fetched").order_by("seq")
    said = [loads(row.payload) for row in (again, whole)]
    for row in said:
        del row["seq"], row["at"]
    assert said[0] == said[1]
    assert said[0]["detail"] == {"version": 1, "from_memory": True}


def test_an_unchanged_fetch_costs_one_statement_and_writes_nothing(token: str, key: ApiKey) -> None:
    tag = fetch.etag(fetch.fetch(token, key.pk).version)
    with counting() as statements:
        assert fetch.fetch(token, key.pk, tag).secret is None
    assert len(statements) == 1, statements
    assert AuditEvent.objects.filter(action="secret.fetched").count() == 1


@pytest.mark.parametrize("table", ["token", "application", "environment", "account", "key"])
def test_another_name_stands_in_the_row_of_the_very_next_fetch(
    token: str, key: ApiKey, table: str
) -> None:
    given(token, key)
    thing: Any = ServiceToken.objects.get() if table == "token" else getattr(key, table, key)
    thing.name = "Renamed"
    thing.save(update_fields=["name"])
    given(token, key)
    row = AuditEvent.objects.filter(action="secret.fetched").order_by("-seq")[0]
    assert "Renamed" in row.actor_label + row.object_label


def test_a_token_that_ends_or_is_bound_elsewhere_opens_nothing_from_memory(
    token: str, key: ApiKey
) -> None:
    given(token, key)
    ServiceToken.objects.update(networks=["10.0.0.0/8"])
    with acting("r", "192.0.2.1"), pytest.raises(TokenRefused):
        given(token, key)
    with acting("r", "10.1.1.1"):
        given(token, key)
    with acting("r", "192.0.2.1"), pytest.raises(TokenRefused):
        given(token, key)
    ServiceToken.objects.update(networks=[], expires_at=timezone.now() + timedelta(seconds=30))
    given(token, key)
    with time_machine.travel(timezone.now() + timedelta(seconds=31)), pytest.raises(TokenRefused):
        given(token, key)
    ServiceToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(TokenRefused):
        given(token, key)


def test_a_former_text_is_noted_as_used_also_while_the_new_one_is_used_all_the_time(
    token: str, key: ApiKey, people: Any
) -> None:
    """Else somebody would end the overlap, believing that nobody uses the former text."""
    given(token, key)
    new = tokens.renew(people.owner, ServiceToken.objects.get(), overlap_seconds=60).reveal()
    given(new, key)
    assert ServiceToken.objects.get().former_used_at is None
    given(token, key)
    assert ServiceToken.objects.get().former_used_at is not None
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        with pytest.raises(TokenRefused):
            given(token, key)
        given(new, key)


def test_use_and_holding_are_noted_each_minute(token: str, key: ApiKey) -> None:
    given(token, key)
    used, held = ServiceToken.objects.get().last_used_at, TokenKeyVersion.objects.get().last_at
    assert used is not None
    given(token, key)
    assert (ServiceToken.objects.get().last_used_at, TokenKeyVersion.objects.get().last_at) == (
        used,
        held,
    )
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        given(token, key)
    later = ServiceToken.objects.get().last_used_at
    assert later is not None
    assert later - used >= timedelta(seconds=60)
    assert TokenKeyVersion.objects.get().last_at - held >= timedelta(seconds=60)


def test_a_key_that_moves_is_not_given_from_memory(token: str, key: ApiKey, place: Any) -> None:
    given(token, key)
    ApiKey.objects.update(environment=place.production)
    with pytest.raises(NotFound):
        given(token, key)


def all_of(token: str, place: Any) -> dict[str, str]:
    found, _ = fetch.fetch_all(token, place.application.pk, place.environment.pk)
    assert found is not None
    return {one.key.name: one.secret.reveal() for one in found if one.secret}


def test_a_steady_fetch_of_all_keys_costs_one_statement_and_its_row_says_the_same(
    vendor: Any, token: str, key: ApiKey, place: Any, people: Any
) -> None:
    make_key(vendor, place, people.owner, name="search")
    first = all_of(token, place)
    assert sorted(first) == ["billing", "search"]
    fetch.forget()
    assert all_of(token, place) == first
    with counting() as statements:
        assert all_of(token, place) == first
    assert len(statements) == 1, statements
    *_, whole, again = AuditEvent.objects.filter(action="secret.fetched").order_by("seq")
    said = [loads(row.payload) for row in (whole, again)]
    for row in said:
        del row["seq"], row["at"]
    assert said[0] == said[1]
    assert (said[0]["detail"]["count"], said[0]["detail"]["from_memory"]) == (2, True)


def test_what_changes_about_any_key_of_a_place_shows_in_the_next_fetch_of_all(
    vendor: Any, token: str, key: ApiKey, place: Any, people: Any
) -> None:
    first = all_of(token, place)
    tag = fetch.fetch_all(token, place.application.pk, place.environment.pk)[1]
    asked = (token, place.application.pk, place.environment.pk, tag)
    assert fetch.fetch_all(*asked) == (None, tag)
    version = next_version(key)
    assert fetch.fetch_all(*asked)[0] is not None
    assert all_of(token, place) == {"billing": secret_of(version)} != first
    make_key(vendor, place, people.owner, name="search")
    assert sorted(all_of(token, place)) == ["billing", "search"]
    ApiKey.objects.filter(name="search").update(environment=place.production)
    assert sorted(all_of(token, place)) == ["billing"]
    ApiKey.objects.filter(name="billing").update(name="renamed")
    assert sorted(all_of(token, place)) == ["renamed"]
    tokens.revoke(people.owner, ServiceToken.objects.get())
    with pytest.raises(TokenRefused):
        fetch.fetch_all(*asked)


def test_no_secret_leaves_memory_while_the_log_cannot_be_written(token: str, key: ApiKey) -> None:
    given(token, key)
    place = (key.application_id or 0, key.environment_id)
    fetch.fetch_all(token, *place)
    with broken_audit():
        with pytest.raises(AuditUnavailable):
            given(token, key)
        with pytest.raises(AuditUnavailable):
            fetch.fetch_all(token, *place)
    assert given(token, key)


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
        version = versions.draft_version(key, secret, source="test", added_by=None)
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
    rotation, _ = lifecycle.start(people.operator, key, Reason.LEAK, overlap_seconds=0)
    drive(rotation)
    assert given(token, key) != old
    tokens.revoke(people.owner, ServiceToken.objects.get(name="app"))
    with pytest.raises(TokenRefused):
        fetch.fetch(token, key.pk)


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
