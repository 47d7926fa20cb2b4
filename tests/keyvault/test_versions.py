"""The life of a secret: each allowed move, and no other."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from keyvault.core.errors import Conflict
from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.models import KeyVersion, VersionState
from keyvault.vault import secret_store
from tests.factories import make_key, secret_of

ALL = list(VersionState)


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> Any:
    return make_key(vendor, place, people.owner)


def add(key: Any, state: VersionState, text: str = "") -> KeyVersion:
    """Store another version of `key` in `state`."""
    secret = Secret(text or f"inf_secret-for-{state}-{KeyVersion.objects.count()}")
    version = versions.draft_version(key, secret, source="test", added_by=None)
    version.state = state
    if state == VersionState.DELETED:
        version.refused_at = timezone.now()
    versions.put_secret(version, secret)
    versions.save_next(version)
    return version


MOVES: dict[str, tuple[Callable[[KeyVersion], Any], dict[VersionState, VersionState]]] = {
    "take_standby": (versions.take_standby, {VersionState.STANDBY: VersionState.PENDING}),
    "give_back_standby": (versions.give_back_standby, {VersionState.PENDING: VersionState.STANDBY}),
    "publish": (versions.publish, {VersionState.PENDING: VersionState.CURRENT}),
    "discard": (
        versions.discard_version,
        {
            VersionState.PENDING: VersionState.DISCARDED,
            VersionState.STANDBY: VersionState.DISCARDED,
            VersionState.PREVIOUS: VersionState.DISCARDED,
        },
    ),
    "destroy_secret": (
        versions.destroy_secret,
        {
            VersionState.DELETED: VersionState.DELETED,
            VersionState.DISCARDED: VersionState.DISCARDED,
        },
    ),
}


@pytest.mark.parametrize("state", [state for state in ALL if state != VersionState.CURRENT])
@pytest.mark.parametrize("move", MOVES)
def test_each_move_is_possible_from_its_states_only(
    key: Any, move: str, state: VersionState
) -> None:
    act, allowed = MOVES[move]
    version = add(key, state)
    first = key.current
    if state in allowed:
        with transaction.atomic():
            act(version)
        assert version.state == allowed[state]
    else:
        with pytest.raises(Conflict), transaction.atomic():
            act(version)
    version.refresh_from_db()
    assert version.state == allowed.get(state, state)
    key.refresh_from_db()
    published = move == "publish" and state in allowed
    assert key.current == (version if published else first)
    assert KeyVersion.objects.filter(key=key, state="current").get() == key.current


@pytest.mark.parametrize("move", [move for move in MOVES if move != "publish"])
def test_the_current_version_is_neither_discarded_nor_destroyed(key: Any, move: str) -> None:
    text = secret_of(key.current)
    with pytest.raises(Conflict):
        MOVES[move][0](key.current)
    key.refresh_from_db()
    assert key.current.state == VersionState.CURRENT
    assert secret_of(key.current) == text


def test_publishing_replaces_and_restoring_brings_back_byte_for_byte(key: Any) -> None:
    """B18: the old secret was never written over."""
    old, before = key.current, secret_of(key.current)
    new = add(key, VersionState.PENDING)
    with transaction.atomic():
        versions.publish(new)
    old.refresh_from_db()
    key.refresh_from_db()
    assert (old.state, key.current) == ("previous", new)
    assert old.retired_at is not None
    assert key.rotated_at is not None
    with transaction.atomic():
        versions.restore(old, new)
    for each in (old, new, key):
        each.refresh_from_db()
    assert (old.state, new.state, key.current) == ("current", "previous", old)
    assert old.retired_at is None
    assert secret_of(old) == before
    with pytest.raises(Conflict), transaction.atomic():
        versions.restore(old, new)


def test_a_move_that_someone_else_made_first_is_a_conflict(key: Any) -> None:
    version = add(key, VersionState.STANDBY)
    stale = KeyVersion.objects.get(pk=version.pk)
    versions.take_standby(version)
    with pytest.raises(Conflict):
        versions.take_standby(stale)


def test_of_many_who_publish_at_once_one_does(key: Any) -> None:
    version = add(key, VersionState.PENDING)
    results: list[str] = []

    def act() -> None:
        try:
            with transaction.atomic():
                versions.publish(KeyVersion.objects.get(pk=version.pk))
            results.append("published")
        except Conflict:
            results.append("conflict")
        finally:
            for each in connections.all():
                each.close()

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["conflict"] * 5 + ["published"]
    assert KeyVersion.objects.filter(state="current").get() == version


def test_a_version_is_deleted_only_after_the_vendor_refused_it(key: Any) -> None:
    """The database itself demands the proof."""
    version = add(key, VersionState.PREVIOUS)
    with pytest.raises(IntegrityError), transaction.atomic():
        versions.mark_deleted(version)
    first = timezone.now()
    versions.note_refused(version, first)
    versions.note_refused(version, timezone.now())
    version.refresh_from_db()
    assert version.refused_at == first
    versions.mark_deleted(version)
    version.refresh_from_db()
    assert version.state == VersionState.DELETED


def test_destroying_ends_the_secret_and_says_when(key: Any) -> None:
    """B54."""
    version = add(key, VersionState.DISCARDED)
    versions.destroy_secret(version)
    version.refresh_from_db()
    assert version.destroyed_at is not None
    with pytest.raises(secret_store.StoreMissing):
        versions.read_secret(version)
    versions.destroy_secret(version)  # a second run after a crash


@pytest.mark.parametrize("state", [VersionState.CURRENT, VersionState.PENDING])
def test_the_database_allows_one_current_and_one_pending_version(
    key: Any, state: VersionState
) -> None:
    if state == VersionState.PENDING:
        add(key, state)
    with pytest.raises(IntegrityError), transaction.atomic():
        add(key, state)


def test_a_live_secret_stands_for_one_key_only(
    vendor: Any, place: Any, people: Any, key: Any
) -> None:
    """Also when two doors are passed at the same moment: the database decides."""
    other = make_key(vendor, place, people.owner)
    text = secret_of(key.current)
    for state in (VersionState.PENDING, VersionState.STANDBY, VersionState.PREVIOUS):
        with pytest.raises(IntegrityError), transaction.atomic():
            add(other, state, text)
    add(other, VersionState.DISCARDED, text)


def test_numbers_count_up_and_are_used_once(key: Any) -> None:
    assert [add(key, VersionState.STANDBY).number for _ in range(3)] == [2, 3, 4]
    twin = versions.draft_version(key, Secret("inf_another-secret-1"), source="test", added_by=None)
    twin.number = 3
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_a_key_with_versions_cannot_be_deleted_from_under_them(key: Any) -> None:
    from django.db.models import ProtectedError

    with pytest.raises(ProtectedError):
        key.delete()
    with pytest.raises(ProtectedError):
        key.account.delete()


def test_a_row_of_a_version_holds_no_secret(key: Any) -> None:
    text = secret_of(key.current)
    row = KeyVersion.objects.values().get()
    assert not [name for name, value in row.items() if text in str(value)]
    assert row["tail"] == text[-4:]
