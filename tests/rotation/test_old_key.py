"""The old key while programs may need it: vendors that lie about its use, and its early death."""

from datetime import timedelta

import pytest
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from rotation.consumers import registry
from rotation.engine import lifecycle, manual_keys
from rotation.engine.steps import old_key
from rotation.models import HumanTask, Notification, Rotation, Step, WaitingFor, WebhookDelivery
from rotation.notifications import triggers
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, everybody_moves, started, step

PAGE = {"status": 404, "body": "<html><h1>404 Not Found</h1></html>", "content_type": "text/html"}
NO_ROUTE = {"status": 404, "body": {"message": "no Route matched with those values"}}
OTHER_CODE = {"status": 404, "body": {"success": False, "error": {"code": "NOT_FOUND"}}}
GONE_PAGE = {**PAGE, "status": 410}
GONE = "was gone before we ended it"


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def switch(people, key, pasted=""):
    """Return a rotation that has given out the new key; its quiet period has long passed."""
    rotation = started(people.operator, key)
    if pasted:
        drive(rotation, lambda r: r.waiting_for == WaitingFor.KEY)
        manual_keys.paste_for(people.operator, rotation, pasted)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    drive(rotation, lambda r: r.step == Step.VERIFY and r.verified_at is not None)
    long_ago = rotation.published_at - timedelta(hours=3)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=1, published_at=long_ago)
    rotation.refresh_from_db()
    return rotation


def add(people, place, name, **options):
    return registry.add_consumer(
        people.owner, name, place.application, place.environment, **options
    ).consumer


def manual_switch(vendor, place, people):
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    made = vendor.create_key(place.vendor_manual["id"])
    return switch(people, make_key(vendor, place, people.owner, manual=True), made["key"])


def use(vendor, rotation):
    assert vendor.use(secret_of(rotation.old_version)) == 200


@pytest.mark.parametrize(
    "lie",
    [
        {"last_use_shown": "null"},
        {"last_use_resolution": 86400},
        {"last_use_lag": 3600},
        {"last_use_behind": 7200},
    ],
    ids=str,
)
def test_no_lie_about_the_last_use_ends_a_key_that_is_used(vendor, place, people, key, lie):
    """B118, F13: null, rounded to the day, counted late, by a slow clock; nobody is on record."""
    vendor.patch_account(place.vendor_api["id"], **lie)
    rotation = switch(people, key)
    for _ in range(4):
        use(vendor, rotation)
        step(rotation)
        assert (rotation.step, rotation.adopted_how) == (Step.VERIFY, "")
        assert "does not count" in rotation.waiting_text
    task = HumanTask.objects.get(rotation=rotation, kind="confirm", closed_at=None)
    assert "does not count" in task.text
    lifecycle.waive(people.operator, rotation, "we looked at every program")
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_word_that_is_right_again_counts_again_from_then_on(vendor, place, people, key):
    vendor.patch_account(place.vendor_api["id"], last_use_shown="null")
    rotation = switch(people, key)
    step(rotation)
    vendor.patch_account(place.vendor_api["id"], last_use_shown="exact")
    step(rotation)
    assert rotation.step == Step.VERIFY, "the quiet period begins when the word begins to count"
    drive(rotation)
    assert rotation.step == Step.DONE
    assert "no use but our own checks" in rotation.adopted_how


@pytest.mark.parametrize("answer", [PAGE, NO_ROUTE, OTHER_CODE, GONE_PAGE], ids=str)
def test_a_404_that_is_not_the_vendors_own_word_is_no_verdict(vendor, place, people, key, answer):
    """F1: a gateway's 404 was taken for "never used", and the key deleted while it was in use."""
    rotation = switch(people, key)
    vendor.fault("get", kind="status", times=None, **answer)
    for _ in range(4):
        use(vendor, rotation)
        step(rotation)
        assert (rotation.step, rotation.adopted_how) == (Step.VERIFY, "")
    assert (rotation.old_gone_at, rotation.waiting_for in ("vendor", "person")) == (None, True)
    assert vendor.lookup(secret_of(rotation.old_version))["accepted_now"]
    vendor.clear_faults()
    lifecycle.retry(people.operator, rotation)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def end(vendor, rotation, how):
    found = vendor.lookup(secret_of(rotation.old_version))["id"]
    if how == "disabled":
        vendor.patch_key(found, disabled=True)
    else:
        vendor.delete_key(found)


@pytest.mark.parametrize(
    ("manual", "how"), [(False, "deleted"), (False, "disabled"), (True, "deleted")]
)
def test_a_key_that_dies_early_is_told_at_once(vendor, place, people, key, manual, how):
    """B116, F2: one urgent notice names who has not moved, who is told again; nothing fell quiet."""
    hook = {"webhook_url": vendor.url}
    moved, lagging = add(people, place, "web-1", **hook), add(people, place, "night job", **hook)
    rotation = manual_switch(vendor, place, people) if manual else switch(people, key)
    everybody_moves(rotation.key_id)
    lagging.acknowledged.all().delete()
    WebhookDelivery.objects.all().delete()
    end(vendor, rotation, how)
    drive(rotation, lambda r: r.old_gone_at is not None)
    for _ in range(3):
        step(rotation)
        assert (rotation.step, rotation.adopted_how) == (Step.VERIFY, "")
    assert GONE in rotation.waiting_text
    assert "night job" in rotation.waiting_text
    task = HumanTask.objects.get(rotation=rotation, kind="incident", closed_at=None)
    triggers.scan()
    triggers.scan()
    notice = Notification.objects.get(task=task)
    assert notice.urgent
    assert GONE in notice.text
    assert "night job" in notice.text
    assert "web-1" not in notice.text
    assert [one.consumer for one in WebhookDelivery.objects.all()] == [lagging]
    assert AuditEvent.objects.filter(action="version.gone_early").count() == 1
    everybody_moves(rotation.key_id)
    drive(rotation)
    assert (moved.active, rotation.step) == (True, Step.DONE)
    assert GONE in rotation.adopted_how
    assert "quiet" not in rotation.adopted_how
    task.refresh_from_db()
    assert task.closed_at is not None
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("manual", [False, True])
def test_with_nobody_on_record_a_person_says_so(vendor, place, people, key, manual):
    """B116: a dead old key is no proof that nothing needed it, and may be given back."""
    rotation = manual_switch(vendor, place, people) if manual else switch(people, key)
    end(vendor, rotation, "deleted")
    drive(rotation, lambda r: r.old_gone_at is not None)
    step(rotation)
    assert rotation.step == Step.VERIFY
    assert HumanTask.objects.filter(rotation=rotation, kind="incident", closed_at=None).exists()
    lifecycle.waive(people.operator, rotation, "nothing runs there")
    drive(rotation)
    assert rotation.step == Step.DONE
    assert GONE in rotation.adopted_how


def test_one_refusal_is_no_death(vendor, place, people, key):
    """B116: one odd node of the vendor's wakes nobody, and lets nothing go on."""
    add(people, place, "night job")
    rotation = switch(people, key)
    found = vendor.lookup(secret_of(rotation.old_version))["id"]
    refusal = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    vendor.fault("usage", kind="status", times=1, status=401, body=refusal, key_id=found)
    Rotation.objects.filter(pk=rotation.pk).update(old_asked_at=timezone.now() - timedelta(hours=1))
    drive(rotation, lambda r: r.old_refusals == 1)
    everybody_moves(key.pk)
    step(rotation)
    assert (rotation.step, rotation.old_gone_at) == (Step.VERIFY, None)
    drive(rotation)
    assert (rotation.step, rotation.old_gone_at) == (Step.DONE, None)
    assert not HumanTask.objects.filter(kind="incident").exists()


def test_a_key_that_is_given_back_is_waited_for_again(vendor, place, people, key):
    """B116: somebody disabled it by mistake, and enabled it again."""
    add(people, place, "night job")
    rotation = switch(people, key)
    end(vendor, rotation, "disabled")
    drive(rotation, lambda r: r.old_gone_at is not None)
    vendor.patch_key(vendor.lookup(secret_of(rotation.old_version))["id"], disabled=False)
    drive(rotation, lambda r: r.old_gone_at is None)
    assert (rotation.step, rotation.old_gone_how) == (Step.VERIFY, "")
    assert not HumanTask.objects.filter(kind="incident", closed_at=None).exists()
    assert AuditEvent.objects.filter(action="version.accepted_again").count() == 1
    everybody_moves(key.pk)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert GONE not in rotation.adopted_how


def test_an_unknown_id_whose_secret_works_is_a_riddle_and_no_death(vendor, place, people, key):
    """F1, F5: another account's credential is told "no such key" too, while programs use the key."""
    rotation = switch(people, key)
    body = {"success": False, "error": {"code": "KEY_NOT_FOUND"}}
    vendor.fault("get", kind="status", times=None, status=404, body=body)
    for _ in range(3):
        use(vendor, rotation)
        step(rotation)
        assert (rotation.step, rotation.old_gone_at) == (Step.VERIFY, None)
    assert "still accepts its secret" in rotation.waiting_text


def test_an_early_death_during_the_overlap_is_noticed(vendor, place, people, key):
    """B116: all have moved, so nobody is woken; the record says how the old key ended."""
    add(people, place, "web-1")
    rotation = switch(people, key)
    everybody_moves(key.pk)
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=100_000)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    end(vendor, rotation, "deleted")
    drive(rotation, lambda r: r.old_gone_at is not None)
    assert not HumanTask.objects.filter(kind="incident").exists()
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation)
    assert GONE in rotation.adopted_how


@pytest.mark.parametrize(
    ("waited", "quiet", "asked", "pause"),
    [
        (1, 3600, 0, 5),  # soon after the switch, when a vendor may break its promise
        (60, 3600, 0, 15),
        (7200, 3600, 10, 180),  # then every few minutes
        (7200, 20, 10, 10),  # and within a short quiet period
        (7200, 3600, 41, 1440),  # at last as the month's calls allow: 1830 less the watch's 30
    ],
)
def test_the_old_secret_is_asked_about_every_few_minutes(
    vendor, place, people, waited, quiet, asked, pause
):
    """B116: also at a vendor that tells no last use, and within the account's calls."""
    key = make_key(vendor, place, people.owner, manual=True)
    key.account.settings = {"key_check_monthly_limit": 1830}
    now = timezone.now()
    rotation = Rotation(
        key=key,
        old_version=key.current,
        published_at=now - timedelta(seconds=waited),
        old_asked_at=now,
        old_asked=asked,
        quiet_seconds=quiet,
    )
    assert old_key.due_in(rotation) == pytest.approx(pause, abs=0.5)


def test_checks_at_a_coarse_vendor_leave_time_in_which_others_are_seen(vendor, place, people, key):
    """B118: where the last use is told to ten minutes, a check each few minutes would hide the rest."""
    key.account.settings = {"last_use_resolution_seconds": 600}
    now = timezone.now()
    rotation = Rotation(
        key=key,
        old_version=key.current,
        published_at=now - timedelta(days=1),
        old_asked_at=now,
        quiet_seconds=3600,
    )
    assert old_key.due_in(rotation) == pytest.approx(2400, abs=1)
    rotation.waiting_for = WaitingFor.ADOPTION  # who is on record is waited for in any case
    assert old_key.due_in(rotation) == pytest.approx(180, abs=1)
