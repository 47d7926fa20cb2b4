"""Outages and backlogs: one alert, few calls, no stampede, and what expires first goes first."""

import itertools
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone

from keyvault.audit.models import Action, AuditEvent
from keyvault.models import VendorAccount
from rotation import queue
from rotation.engine import circuit_breaker, runner, scheduler
from rotation.human_tasks import visible_tasks
from rotation.models import HumanTask, Outage, Rotation, RotationPolicy, Step, WaitingFor
from rotation.scheduling import policies
from tests.factories import lone_key, make_key
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, due_now, hurry, started, step
from tests.waiting import until

SERVER_ERROR = {"kind": "status", "status": 500, "body": {"success": False}}


def open_outages():
    return HumanTask.objects.filter(kind=HumanTask.Kind.OUTAGE, closed_at=None)


def go_round(rotations):
    """Let each rotation try once, as if its pause were over."""
    for rotation in rotations:
        due_now(rotation)
        runner.advance(rotation.pk)


def as_if_probe_were_due():
    Outage.objects.update(next_try_at=Now())


@pytest.fixture
def six(vendor, place, people):
    """Start six rotations at one account."""
    return [started(people.operator, make_key(vendor, place, people.owner)) for _ in range(6)]


def calls(vendor, place):
    return len(vendor.ledger(account=place.vendor_api["id"]))


def test_an_outage_is_one_alert_and_a_few_calls_and_ends_by_itself(vendor, place, people, six):
    """B81: six rotations, one alert, one probe at a time; when the vendor is back all finish."""
    vendor.fault("*", times=None, **SERVER_ERROR)
    go_round(six)
    task = open_outages().get()
    assert "has not answered as it should since" in task.text
    assert task.account == place.api_account
    assert not HumanTask.objects.filter(kind=HumanTask.Kind.LOOK).exists()

    before = calls(vendor, place)
    for _ in range(10):
        go_round(six)
    assert calls(vendor, place) == before, "while the next probe is not due nobody calls"
    as_if_probe_were_due()
    go_round(six)
    assert calls(vendor, place) == before + 1, "one probe, however many wait"
    assert open_outages().count() == 1
    assert not HumanTask.objects.filter(kind=HumanTask.Kind.LOOK).exists()

    vendor.clear_faults()
    as_if_probe_were_due()
    go_round(six)
    assert not open_outages().exists()
    assert not Outage.objects.exists()
    for rotation in six:
        assert drive(rotation).step == Step.DONE
    assert creates(vendor, place.vendor_api) == 6
    recorded = AuditEvent.objects.filter(action__startswith="outage.").order_by("seq")
    assert [row.action for row in recorded] == [Action.OUTAGE_BEGAN, Action.OUTAGE_ENDED]
    assert_all_is_well(vendor, place)


def test_those_that_were_held_back_follow_one_after_the_other(vendor, place, people, six):
    vendor.fault("*", times=None, **SERVER_ERROR)
    go_round(six)
    vendor.clear_faults()
    as_if_probe_were_due()
    hurry(six[0])
    runner.advance(six[0].pk)
    held = Rotation.objects.filter(waiting_for=WaitingFor.VENDOR, attempt__gt=0)
    due = sorted(held.values_list("due_at", flat=True))
    assert len(due) == 5
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert all(gap >= timedelta(seconds=0.4) for gap in gaps)
    assert due[-1] < timezone.now() + timedelta(seconds=10)


def test_one_failing_key_does_not_stop_its_neighbours(vendor, place, people):
    """A failure that the account's other rotations do not share is that rotation's own."""
    bad = started(people.operator, make_key(vendor, place, people.owner))
    drive(bad, lambda r: r.new_version is not None)
    vendor.fault("usage", times=None, key_id=bad.new_version.vendor_id, **SERVER_ERROR)
    for _ in range(3):
        for _ in range(3):
            step(bad)
        assert drive(started(people.operator, make_key(vendor, place, people.owner))).step == (
            Step.DONE
        )
    assert bad.waiting_for == WaitingFor.PERSON
    assert "tries in a row failed since" in bad.waiting_text
    assert "500" in bad.waiting_text
    assert bad.tasks.get(kind="look", closed_at=None).text == bad.waiting_text
    assert not open_outages().exists()
    vendor.clear_faults()
    assert drive(bad).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_vault_outage_is_one_alert_for_all_accounts(stack, vendor, place, people, six):
    """B24: however many rotations meet it, people hear of it once."""
    from keyvault.vault import secret_store

    stack.openbao.stop()
    secret_store.forget_login()
    try:
        go_round(six)
        assert open_outages().get().about == circuit_breaker.about(None)
    finally:
        stack.openbao.start()
        secret_store.forget_login()
    as_if_probe_were_due()
    go_round(six)
    assert not open_outages().exists()
    for rotation in six:
        assert drive(rotation).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_an_outage_is_seen_by_who_rotates_and_by_nobody_else(vendor, place, people, six):
    vendor.fault("*", times=None, **SERVER_ERROR)
    go_round(six)
    task = open_outages().get()
    for member, sees in ((people.operator, True), (people.owner, True), (people.viewer, False)):
        assert visible_tasks(member).filter(pk=task.pk).exists() == sees
    assert not visible_tasks(people.outsider).exists()


def test_an_alert_has_its_page_and_cannot_be_completed(client, vendor, place, people, six):
    vendor.fault("*", times=None, **SERVER_ERROR)
    go_round(six)
    task = open_outages().get()
    client.force_login(people.operator)
    assert task.text in client.get("/").content.decode()
    page = client.get(f"/tasks/{task.pk}/").content.decode()
    assert "closes by itself" in page
    assert client.post(f"/tasks/{task.pk}/paste/", {"secret": "x"}).status_code == 404
    client.force_login(people.viewer)
    assert client.get(f"/tasks/{task.pk}/").status_code == 404


@override_settings(MAX_KEYS_CREATED_PER_DAY=2)
def test_a_cap_on_new_keys_a_day_holds_and_tells_one_person_once(vendor, place, people):
    """A run-away cannot mint keys without end; when the day has passed it goes on by itself."""
    from rotation.models import Intent

    rotations = [started(people.operator, make_key(vendor, place, people.owner)) for _ in range(4)]
    ended = [
        drive(rotation, lambda r: r.waiting_for == "turn" or not r.is_open)
        for rotation in rotations
    ]
    assert [r.step for r in ended] == [Step.DONE, Step.DONE, Step.GENERATE, Step.GENERATE]
    assert creates(vendor, place.vendor_api) == 2
    alert = HumanTask.objects.get(kind=HumanTask.Kind.FINDING, closed_at=None)
    assert "MAX_KEYS_CREATED_PER_DAY" in alert.text
    Intent.objects.filter(kind="create").update(
        created_at=timezone.now() - timedelta(days=1, minutes=1)
    )
    assert [drive(rotation).step for rotation in rotations[2:]] == [Step.DONE, Step.DONE]
    alert.refresh_from_db()
    assert alert.closed_at is not None
    assert_all_is_well(vendor, place)


def make_due(key, by, *, expires=None, overdue=timedelta(days=3)):
    """Give the key a policy that fell due while everything was down."""
    policies.set_policy(by, key, policies.Wish(30, timezone.now().time(), "UTC", 0, 1))
    RotationPolicy.objects.filter(key=key).update(next_run_at=timezone.now() - overdue)
    if expires:
        key.current.expires_at = timezone.now() + expires
        key.current.save(update_fields=["expires_at"])
    return key


@override_settings(MAX_STARTS_PER_TICK=3, MAX_ROTATIONS_PER_ACCOUNT=4)
def test_after_three_days_down_work_resumes_bounded_and_what_expires_first_goes_first(
    vendor, place, people
):
    days = [None, 9, 2, None, 5, 1]
    keys = [
        make_due(
            lone_key(vendor, place, people.owner, name=f"due-{number}"),
            people.owner,
            expires=timedelta(days=left) if left else None,
        )
        for number, left in enumerate(days)
    ]
    assert scheduler.start_due() == 3
    names = [r.key.name for r in Rotation.objects.order_by("pk").select_related("key")]
    assert names == ["due-5", "due-2", "due-4"]
    assert scheduler.start_due() == 1, "the account's own cap holds"
    assert scheduler.start_due() == 0
    assert queue.due()[0] == Rotation.objects.get(key=keys[5]).pk
    for rotation in Rotation.objects.all():
        drive(rotation)
    assert scheduler.start_due() == 2
    for rotation in Rotation.objects.filter(finished_at=None):
        drive(rotation)
    assert creates(vendor, place.vendor_api) == 6
    assert_all_is_well(vendor, place)


@override_settings(MAX_STARTS_PER_TICK=2, MAX_ROTATIONS_PER_ACCOUNT=1)
def test_a_full_account_holds_up_no_other(vendor, place, people):
    for number in range(12):
        make_due(
            lone_key(vendor, place, people.owner, name=f"many-{number}"),
            people.owner,
            expires=timedelta(days=1),
        )
    other = VendorAccount.objects.create(
        name="Other",
        provider="sandbox",
        base_url=place.api_account.base_url,
        management_path=place.api_account.management_path,
    )
    place.api_account = other
    lone = make_due(make_key(vendor, place, people.owner, name="lone"), people.owner)
    assert scheduler.start_due() == 2
    assert Rotation.objects.filter(key=lone).exists()


def test_an_account_that_is_known_to_be_away_starts_nothing_by_schedule(vendor, place, people, six):
    key = make_due(lone_key(vendor, place, people.owner), people.owner)
    vendor.fault("*", times=None, **SERVER_ERROR)
    go_round(six)
    assert scheduler.start_due() == 0
    vendor.clear_faults()
    as_if_probe_were_due()
    go_round(six)
    assert scheduler.start_due() == 1
    assert Rotation.objects.filter(key=key).exists()


def test_messages_for_one_rotation_do_not_pile_up(vendor, place, people, six):
    """B82: however often the loop turns while workers are behind, one message each is under way."""
    assert sorted(queue.take_due()) == sorted(r.pk for r in six)
    assert queue.take_due() == []
    step(six[0])
    hurry(six[0])
    assert queue.take_due() == [six[0].pk], "a try sets the note back"
    Rotation.objects.update(nudged_at=timezone.now() - timedelta(minutes=1))
    assert len(queue.take_due()) == 6, "a lost message is sent again"


def test_a_real_worker_catches_up_after_an_outage(worker, vendor, place, people, six):
    vendor.fault("*", times=None, **SERVER_ERROR)
    until(open_outages().exists, 30, "the alert")
    vendor.clear_faults()

    def over() -> bool:
        # A try that failed just before may have put the next one off again.
        Outage.objects.update(next_try_at=Now())
        return not Rotation.objects.filter(finished_at=None).exists()

    until(over, 60, "all rotations to end")
    assert creates(vendor, place.vendor_api) == 6
    assert_all_is_well(vendor, place)
