"""What a removed webhook, chat or calendar left in Vault is destroyed, and so is what was cut off."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hvac
import pytest
from django.utils import timezone

from keyvault.core.errors import Conflict
from keyvault.inventory.stored_secrets import SETTLED_AFTER, claim_secret, store_secret
from keyvault.models import OrphanedSecret
from rotation import orphaned_secrets
from rotation.consumers import registry
from rotation.engine import cleanup
from rotation.models import FreezeCalendar, HumanTask, NotificationChannel
from rotation.notifications import channels
from rotation.recovery import deletion_lock
from rotation.scheduling import freeze_calendars
from tests.keyvault.vault import acting_as, inspector, vault_at

URL = "https://hooks.example.com/services/T0/leftover-canary-2206"


def lies_in_vault(stack: Any, path: uuid.UUID) -> bool:
    kv = inspector(stack.openbao).secrets.kv.v2
    try:
        kv.read_secret_version(
            f"webhooks/{path}", mount_point="keyvault", raise_on_deleted_version=True
        )
    except hvac.exceptions.InvalidPath:
        return False
    return True


def age() -> None:
    """Let the time pass after which what is left over is nobody's any more."""
    OrphanedSecret.objects.update(since=timezone.now() - SETTLED_AFTER - timedelta(seconds=1))


def a_hook(people: Any, place: Any, name: str) -> tuple[uuid.UUID, Callable[[], None]]:
    hook = channels.add_channel(people.owner, name, NotificationChannel.Kind.CHAT, URL).hook
    return hook.path, lambda: channels.remove_channel(people.owner, hook)


def a_consumer(people: Any, place: Any, name: str) -> tuple[uuid.UUID, Callable[[], None]]:
    made = registry.add_consumer(
        people.owner, name, place.application, place.environment, webhook_url=URL
    ).consumer
    assert made.webhook_path is not None
    return made.webhook_path, lambda: registry.remove_consumer(people.owner, made)


def a_calendar(people: Any, place: Any, name: str) -> tuple[uuid.UUID, Callable[[], None]]:
    feed = freeze_calendars.add_feed(people.owner, name, URL)
    return feed.path, lambda: freeze_calendars.end_feed(people.owner, feed)


@pytest.mark.parametrize("make", [a_hook, a_consumer, a_calendar])
def test_what_is_removed_leaves_vault_too(
    stack: Any, people: Any, place: Any, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    """Web writes and removes, and may destroy nothing; the worker destroys what nothing names."""
    with acting_as(stack.openbao, "web", monkeypatch):
        path, remove = make(people, place, "one")
        other, _ = make(people, place, "stays")
        assert not OrphanedSecret.objects.exists()
        remove()
    with acting_as(stack.openbao, "worker", monkeypatch):
        assert orphaned_secrets.destroy_all() == 0, "a request may still be under way"
        assert lies_in_vault(stack, path)
        age()
        assert orphaned_secrets.destroy_all() == 1
    assert (lies_in_vault(stack, path), lies_in_vault(stack, other)) == (False, True)
    assert not OrphanedSecret.objects.exists()


def test_a_removal_that_is_too_late_leaves_nothing(people: Any, place: Any) -> None:
    _, remove = a_hook(people, place, "one")
    remove()
    with pytest.raises(Conflict):
        remove()
    assert OrphanedSecret.objects.count() == 1


def test_a_refused_save_leaves_nothing_for_good(stack: Any, people: Any, place: Any) -> None:
    path, _ = a_calendar(people, place, "Company")
    with pytest.raises(Conflict, match="already"):
        a_calendar(people, place, "Company")
    lost = OrphanedSecret.objects.get().path
    assert lies_in_vault(stack, lost)
    age()
    orphaned_secrets.destroy_all()
    assert (lies_in_vault(stack, path), lies_in_vault(stack, lost)) == (True, False)
    assert FreezeCalendar.objects.get().path == path


def test_a_request_that_was_cut_off_leaves_nothing_for_good(stack: Any, database: None) -> None:
    path = store_secret("webhooks", {"url": URL})
    age()
    assert orphaned_secrets.destroy_all() == 1
    assert not lies_in_vault(stack, path)


def test_a_row_without_a_secret_goes_as_well(database: None) -> None:
    """The process died between the row and the write."""
    OrphanedSecret.objects.create(path=uuid.uuid4())
    age()
    assert orphaned_secrets.destroy_all() == 1


def test_what_is_being_destroyed_can_be_named_no_more(database: None) -> None:
    path = store_secret("webhooks", {"url": URL})
    OrphanedSecret.objects.update(doomed_at=timezone.now())
    with pytest.raises(Conflict, match="Nothing was saved"):
        claim_secret(path)
    with pytest.raises(Conflict):
        claim_secret(uuid.uuid4())


def test_the_sweep_destroys_them_and_nothing_while_deleting_is_frozen(
    stack: Any, database: None
) -> None:
    path = store_secret("webhooks", {"url": URL})
    age()
    cleanup.sweep()
    assert not lies_in_vault(stack, path)
    path = store_secret("webhooks", {"url": URL})
    age()
    deletion_lock.lock_deletions("The test restored a backup.")
    cleanup.sweep()
    assert lies_in_vault(stack, path)


def test_vault_away_keeps_them_for_the_next_time(stack: Any, database: None) -> None:
    store_secret("webhooks", {"url": URL})
    age()
    with vault_at("http://127.0.0.1:9"):
        assert orphaned_secrets.destroy_all() == 0
    assert orphaned_secrets.destroy_all() == 1


def test_a_policy_of_before_is_told_once_and_settled(
    stack: Any, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store_secret("webhooks", {"url": URL})
    age()
    with acting_as(stack.openbao, "web", monkeypatch):
        for _ in range(2):
            assert orphaned_secrets.destroy_all() == 0
    task = HumanTask.objects.get(about=orphaned_secrets.ABOUT)
    assert "deploy/vault-setup" in task.text
    assert str(path) not in task.text
    orphaned_secrets.destroy_all()
    task.refresh_from_db()
    assert task.closed_at is not None
