"""Each copy of a program is known for itself: what it was given, how often it comes, what it proved."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput
from keyvault.core.request_context import acting
from keyvault.delivery import fetch as fetching
from keyvault.delivery import instances, tokens
from keyvault.delivery.fetch import fetch, fetch_all
from keyvault.models import ApiKey, KeyVersion, ServiceToken, TokenKeyVersion, VersionState
from tests.api_client import Api, counting
from tests.factories import make_key, secret_of
from tests.keyvault.test_fetching import next_version


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def token(people: Any, place: Any) -> str:
    return tokens.issue(people.owner, "app", place.application, place.environment)[1].reveal()


def rows() -> dict[str, TokenKeyVersion]:
    return {
        one.instance: one for one in TokenKeyVersion.objects.select_related("version", "former")
    }


def test_copies_behind_one_token_are_told_apart(key: ApiKey, token: str) -> None:
    """B114: one row for all of them would say that all have what one was given."""
    for copy in ("web-1", "web-2", "web-3"):
        fetch(token, key.pk, instance=copy)
    version = next_version(key)
    fetch(token, key.pk, instance="web-2")
    held = {copy: row.version.number for copy, row in rows().items()}
    assert held == {"web-1": 1, "web-2": 2, "web-3": 1}
    assert (rows()["web-2"].former, rows()["web-2"].version) == (
        KeyVersion.objects.get(number=1),
        version,
    )
    assert rows()["web-1"].former is None


def test_who_says_no_id_is_told_by_its_address(key: ApiKey, token: str, place: Any) -> None:
    """B114: curl and older programs send no header."""
    for source in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
        with acting("r", source):
            fetch(token, key.pk)
            fetch_all(token, place.application.pk, place.environment.pk)
    assert sorted(rows()) == ["@10.0.0.1", "@10.0.0.2", "@2001:db8::1"]


def test_all_keys_of_a_place_are_noted_for_the_copy_that_asked(
    vendor: Any, place: Any, people: Any, key: ApiKey, token: str
) -> None:
    make_key(vendor, place, people.owner, name="search")
    where = place.application.pk, place.environment.pk
    for copy in ("a", "b"):
        fetch_all(token, *where, instance=copy)
    assert sorted(TokenKeyVersion.objects.values_list("key__name", "instance")) == [
        ("billing", "a"),
        ("billing", "b"),
        ("search", "a"),
        ("search", "b"),
    ]


@pytest.mark.parametrize(
    "odd", ["a b", "*", "*12", "@10.0.0.1", "-x", "a" * 65, "é", "a\x00", "a\n", "a/b", "'", "％"]
)
def test_an_odd_id_is_refused_before_anything_is_given_or_recorded(
    key: ApiKey, token: str, place: Any, odd: str
) -> None:
    """Above all none that reads like an address, or like copies that were put together."""
    where = place.application.pk, place.environment.pk
    for ask in (
        lambda: fetch(token, key.pk, instance=odd),
        lambda: fetch_all(token, *where, instance=odd),
    ):
        with pytest.raises(BadInput) as told:
            ask()
        assert told.value.code == "bad_instance"
    assert not TokenKeyVersion.objects.exists()
    assert not AuditEvent.objects.filter(action="secret.fetched").exists()


def test_the_header_names_the_copy(key: ApiKey, token: str, place: Any) -> None:
    app, one = Api(token=token), f"keys/{key.pk}/secret"
    every = f"applications/{place.application.pk}/environments/{place.environment.pk}/secrets"
    assert app.get(one, **{instances.HEADER: "web-1:4711"}).status == 200
    assert app.get(every, **{instances.HEADER: "web-2"}).status == 200
    assert app.get(one).status == 200
    assert sorted(rows()) == ["@127.0.0.1", "web-1:4711", "web-2"]
    for path in (one, every):
        refused = app.get(path, **{instances.HEADER: "no such thing"})
        assert (refused.status, refused.code) == (400, "bad_instance")


def test_each_copy_is_noted_and_then_costs_one_statement(key: ApiKey, token: str) -> None:
    """P4: another copy is not given from memory before it was noted."""
    for copy in ("a", "b"):
        fetch(token, key.pk, instance=copy)
        with counting() as statements:
            fetch(token, key.pk, instance=copy)
        assert len(statements) == 1, statements
    with counting() as statements:
        fetch(token, key.pk, instance="c")
    assert len(statements) == 3, "find, record, note"
    assert sorted(rows()) == ["a", "b", "c"]


def test_no_number_of_ids_pushes_out_what_others_were_given(key: ApiKey, token: str) -> None:
    """A caller may make up an id for each fetch: steady programs still cost one statement."""
    fetch(token, key.pk, instance="steady")
    for number in range(instances.MOST + 20):
        fetch(token, key.pk, instance=f"made-up-{number}")
    with counting() as statements:
        fetch(token, key.pk, instance="steady")
    assert len(statements) == 1, statements


def test_so_many_copies_are_told_apart_and_the_rest_is_counted(key: ApiKey, token: str) -> None:
    """Neither an attacker nor an autoscaler fills the table, and none that holds a key is lost."""
    total = instances.MOST * 3
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for number in range(total):
            clock.shift(1)
            fetch(token, key.pk, instance=f"copy-{number}")
    held = rows()
    assert len(held) == instances.MOST + 1
    folded = held[f"*{key.current_id}"]
    assert folded.copies == total - instances.MOST
    assert folded.version == key.current
    assert f"copy-{total - 1}" in held
    assert "copy-0" not in held, "what was seen least lately is put together"
    newest = next_version(key)
    fetch(token, key.pk, instance="one-more")
    assert rows()["one-more"].version == newest
    assert rows()[f"*{key.versions.get(number=1).pk}"].copies == total - instances.MOST + 1


def test_what_was_put_together_proves_nothing(key: ApiKey, token: str) -> None:
    row, current = ServiceToken.objects.get(), key.current
    assert current is not None
    for number in range(instances.MOST + 2):
        instances.prove(row, key, current, f"copy-{number}")
    folded = rows()[f"*{current.pk}"]
    assert (folded.copies, folded.proved) == (2, None)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), st.integers(0, 200)), max_size=30
    )
)
def test_no_order_of_fetches_loses_a_copy(
    held_key: tuple[ServiceToken, list[KeyVersion]], calls: list[Any]
) -> None:
    """Whatever comes in which order: bounded rows, and each copy's last version is among them."""
    token, made = held_key
    TokenKeyVersion.objects.all().delete()
    now = timezone.now()
    last: dict[str, int] = {}
    with time_machine.travel(now, tick=False) as clock:
        for copy, which, later in calls:
            clock.shift(later)
            instances.note(token, [made[which]], copy)
            last[copy] = which
    found = list(TokenKeyVersion.objects.all())
    alone = [one for one in found if not one.instance.startswith("*")]
    assert len(alone) <= instances.MOST
    for copy, which in last.items():
        (own,) = [one for one in alone if one.instance == copy]
        assert own.version == made[which]
        assert own.first_at <= own.last_at
        assert own.former_id != own.version_id


@pytest.fixture
def held_key(key: ApiKey, token: str) -> tuple[ServiceToken, list[KeyVersion]]:
    first = key.current
    assert first is not None
    return ServiceToken.objects.get(), [first, next_version(key, "b"), next_version(key, "c")]


def visits(token: str, key: ApiKey, start: datetime, *after: timedelta) -> int:
    """Fetch at the start and after each of these pauses; returns the pause that is known then."""
    with time_machine.travel(start, tick=False) as clock:
        fetching.forget()
        fetch(token, key.pk, instance="job")
        for pause in after:
            clock.shift(pause)
            fetching.forget()
            fetch(token, key.pk, instance="job")
    return TokenKeyVersion.objects.get().pause_seconds


def test_the_rhythm_of_a_copy_is_its_longest_pause_of_lately(key: ApiKey, token: str) -> None:
    """B118: what runs each night, for some minutes, has the rhythm of a day."""
    day, poll = timedelta(days=1), timedelta(minutes=2)
    assert visits(token, key, timezone.now()) == 0
    night = [day, *[poll] * 5] * 3
    assert visits(token, key, timezone.now() + poll, *night) == day.total_seconds()


def test_a_pause_is_forgotten_after_eight_times_its_length(key: ApiKey, token: str) -> None:
    hour, poll = timedelta(hours=1), timedelta(minutes=2)
    start = timezone.now()
    assert visits(token, key, start, poll, hour, *[poll] * 200) == 3600
    later = start + hour + 240 * poll + poll
    assert visits(token, key, later, poll) <= 40 * 120 + 120
    assert visits(token, key, start + timedelta(days=3), *[poll] * 3) > 3600


def test_two_fetches_within_a_minute_are_no_rhythm(key: ApiKey, token: str) -> None:
    """At a switch the same copy is noted twice at once: that is not how often it comes."""
    assert visits(token, key, timezone.now(), timedelta(seconds=2)) == 0
    next_version(key)
    assert visits(token, key, timezone.now(), timedelta(seconds=5)) == 0


def test_a_copy_from_before_copies_were_told_apart_is_the_first_that_comes(
    key: ApiKey, token: str
) -> None:
    """Else each program would be known twice after an upgrade, once as what never comes again."""
    then = timezone.now() - timedelta(hours=2)
    TokenKeyVersion.objects.create(
        token=ServiceToken.objects.get(),
        key=key,
        version=key.versions.get(),
        first_at=then,
        last_at=then,
    )
    next_version(key)
    fetch(token, key.pk, instance="web-1")
    fetch(token, key.pk, instance="web-2")
    assert sorted(rows()) == ["web-1", "web-2"]
    assert rows()["web-1"].former == key.versions.get(number=1)
    assert rows()["web-2"].former is None


def test_a_proof_speaks_for_one_copy_and_one_version(key: ApiKey, token: str) -> None:
    row, current = ServiceToken.objects.get(), key.current
    assert current is not None
    for copy in ("a", "b"):
        fetch(token, key.pk, instance=copy)
    assert instances.prove(row, key, current, "a")
    assert not instances.prove(row, key, current, "a"), "nothing new"
    assert {name: one.proved for name, one in rows().items()} == {"a": current, "b": None}
    newest = next_version(key)
    fetch(token, key.pk, instance="a")
    assert rows()["a"].proved != newest


@pytest.mark.parametrize(
    ("days", "state", "kept"),
    [
        (365, VersionState.CURRENT, True),
        (367, VersionState.CURRENT, False),
        (39, VersionState.DELETED, True),
        (41, VersionState.DELETED, False),
        (41, VersionState.DISCARDED, False),
        (300, VersionState.PREVIOUS, True),
    ],
)
def test_what_is_long_over_is_forgotten(
    key: ApiKey, token: str, days: int, state: str, kept: bool
) -> None:
    """A year after the last fetch, or when the version that was given is dead; never before."""
    fetch(token, key.pk)
    TokenKeyVersion.objects.update(last_at=timezone.now() - timedelta(days=days))
    old = KeyVersion.objects.get()
    if state != VersionState.CURRENT:
        next_version(key)
        KeyVersion.objects.filter(pk=old.pk).update(state=state, refused_at=timezone.now())
    assert instances.forget() == (0 if kept else 1)
    assert TokenKeyVersion.objects.exists() is kept


def test_two_fetches_of_one_copy_at_once_make_one_row(key: ApiKey, token: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connections

    def ask(number: int) -> str:
        try:
            got = fetch(token, key.pk, instance=f"copy-{number % 3}").secret
            return got.reveal() if got else ""
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(24))) == {secret_of(key.current)}
    assert sorted(rows()) == ["copy-0", "copy-1", "copy-2"]
