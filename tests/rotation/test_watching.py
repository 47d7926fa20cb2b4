"""Current keys are asked about on their own day, so that nobody learns from an outage."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.models import ApiKey, KeyVersion
from rotation.engine import check_budget, lifecycle, scheduler
from rotation.models import (
    AccountUsage,
    HumanTask,
    KeyCheckSchedule,
    Reason,
    Rotation,
    RotationPause,
    RotationPolicy,
)
from rotation.monitoring import key_checks
from rotation.scheduling import pauses, policies
from rotation.tasks import watch
from tests.api_client import Api, sign_in
from tests.factories import make_key, secret_of
from tests.pages import text
from tests.rotation.driving import drive


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    return make_key(vendor, place, people.owner, name="billing")


def come() -> list[int]:
    """Let every key's day come, and ask about it."""
    key_checks.claim_due()
    KeyCheckSchedule.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
    found = key_checks.claim_due()
    for key_id in found:
        key_checks.check(key_id)
    return found


def asked(vendor: Any) -> int:
    return len(vendor.ledger(route="usage"))


def open_kinds() -> list[str]:
    return list(HumanTask.objects.filter(closed_at=None).values_list("kind", flat=True))


def test_each_key_is_asked_about_once_an_interval_and_spread_out(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    for number in range(4):
        make_key(vendor, place, people.owner, name=f"key {number}")
    assert key_checks.claim_due() == [], "new ones are spread over their first day"
    due = sorted(KeyCheckSchedule.objects.values_list("next_check_at", flat=True))
    assert due[-1] - due[0] > timedelta(minutes=5)
    before = asked(vendor)
    assert len(come()) == 5
    assert asked(vendor) == before + 5
    assert key_checks.claim_due() == []
    for one in KeyCheckSchedule.objects.all():
        away = one.next_check_at - timezone.now()
        assert timedelta(hours=21) < away < timedelta(hours=27)


def test_two_at_once_ask_once(key: ApiKey) -> None:
    key_checks.claim_due()
    KeyCheckSchedule.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
    assert key_checks.claim_due() == [key.pk]
    assert key_checks.claim_due() == [], "it is given out, until the lease ends"


def test_a_key_that_is_refused_twice_is_an_incident_at_once_and_one_odd_node_is_none(
    vendor: Any, key: ApiKey
) -> None:
    vendor.delete_key_by_secret(secret_of(key.current))
    come()
    assert open_kinds() == []
    assert KeyCheckSchedule.objects.get().next_check_at < timezone.now() + timedelta(minutes=2)
    come()
    task = HumanTask.objects.get(kind="incident", closed_at=None)
    assert "refuses the current secret" in task.text
    assert task.key == key
    come()
    assert open_kinds() == ["incident"], "one, however long it lasts"
    assert AuditEvent.objects.filter(action="key.checked").count() == 1, "a row for each change"


def test_an_incident_ends_when_the_key_works_again_or_was_rotated(
    vendor: Any, people: Any, key: ApiKey
) -> None:
    vendor.delete_key_by_secret(secret_of(key.current))
    come()
    come()
    rotation, _ = lifecycle.start(people.operator, key, Reason.INCIDENT, overlap_seconds=0)
    assert come() == [], "a rotation looks for itself"
    drive(rotation)
    assert Rotation.objects.get().step == "done"
    come()
    assert open_kinds() == []
    assert HumanTask.objects.get(kind="incident").outcome == "The vendor accepts the key."


def test_an_expired_key_gets_its_end_noted(vendor: Any, place: Any, key: ApiKey) -> None:
    row = vendor.lookup(secret_of(key.current))
    vendor.patch_key(row["id"], expires_at="2020-01-01T00:00:00Z")
    come()
    come()
    ends = KeyVersion.objects.get(key=key).expires_at
    assert ends
    assert ends <= timezone.now()
    assert open_kinds() == ["incident"]


def test_an_incident_says_how_long_before_the_end_on_record_it_came(
    vendor: Any, key: ApiKey
) -> None:
    """B117: tokens died three months before the date in the reminder, and people looked elsewhere."""
    KeyVersion.objects.update(expires_at=timezone.now() + timedelta(days=89, hours=1))
    vendor.delete_key_by_secret(secret_of(key.current))
    come()
    come()
    text = HumanTask.objects.get(kind="incident").text
    assert "It ended 89 days before the end on record" in text


@pytest.mark.parametrize("status", [404, 410, 403, 200])
def test_a_key_without_a_verdict_among_good_ones_is_the_keys_own_trouble(
    vendor: Any, place: Any, people: Any, key: ApiKey, status: int
) -> None:
    """B117: a dead key may be answered with “not found”: the alert names it, not its account."""
    make_key(vendor, place, people.owner, name="second")
    body = {"error": "package not found"}
    found = vendor.lookup(secret_of(key.current))["id"]
    vendor.fault("usage", "status", times=None, status=status, body=body, key_id=found)
    for _ in range(3):
        come()
    task = HumanTask.objects.get(closed_at=None)
    assert (task.kind, task.key) == ("outage", key)
    assert "may have ended" in task.text
    vendor.clear_faults()
    come()
    assert open_kinds() == []


def test_cannot_tell_three_times_is_the_vendors_problem_and_one_alert_an_account(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    make_key(vendor, place, people.owner, name="second")
    vendor.fault("usage", "status", times=None, status=503)
    for _ in range(2):
        come()
    assert open_kinds() == []
    come()
    come()
    assert open_kinds() == ["outage"]
    assert "nothing is deleted" in HumanTask.objects.get().text
    vendor.clear_faults()
    come()
    assert open_kinds() == []


def test_what_is_refused_or_unclear_is_asked_no_oftener_than_the_month_allows(
    place: Any, key: ApiKey
) -> None:
    from keyvault.vendors.base import CANNOT_TELL, REFUSED, CheckResult

    account = place.api_account
    account.settings = {"key_check_monthly_limit": 10}
    account.save()
    key.refresh_from_db()
    key_checks.claim_due()
    assert key.current is not None
    for answer in (REFUSED, CANNOT_TELL):
        for _ in range(4):
            key_checks.record_result(key, key.current, CheckResult(answer, "said so"))
        assert KeyCheckSchedule.objects.get().next_check_at > timezone.now() + timedelta(
            days=2, hours=23
        )
    day = CheckResult(CANNOT_TELL, "later", retry_after=9 * 86400.0)
    key_checks.record_result(key, key.current, day)
    assert KeyCheckSchedule.objects.get().next_check_at > timezone.now() + timedelta(days=8), (
        "as it asked"
    )


def test_one_key_without_a_verdict_among_good_ones_is_one_alert_and_no_back_and_forth(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    from keyvault.vendors.base import CANNOT_TELL, VALID, CheckResult

    other = make_key(vendor, place, people.owner, name="second")
    key_checks.claim_due()
    assert key.current is not None
    assert other.current is not None
    for _ in range(4):
        key_checks.record_result(key, key.current, CheckResult(CANNOT_TELL, "paid plan required"))
        key_checks.record_result(other, other.current, CheckResult(VALID, "fine"))
    assert HumanTask.objects.filter(kind="outage").count() == 1
    assert open_kinds() == ["outage"]
    key_checks.record_result(key, key.current, CheckResult(VALID, "fine"))
    assert open_kinds() == []


def test_the_calls_stay_within_what_the_account_allows(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    make_key(vendor, place, people.owner, name="second")
    account = place.api_account
    assert check_budget.interval_of(account) == timedelta(hours=24)
    account.settings = {"key_check_monthly_limit": 20}
    assert check_budget.interval_of(account) == timedelta(days=3), "60 key days for 20 calls"
    account.settings = {"key_check_interval_hours": 6}
    assert check_budget.interval_of(account) == timedelta(hours=6)


def test_what_is_used_up_is_recorded_and_told_before_the_end(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    number = place.vendor_api["id"]
    vendor.patch_account(number, credits_total=1000, credits_used=100)
    come()
    assert AccountUsage.objects.get().percent == 10
    vendor.patch_account(number, credits_used=850)
    come()
    assert "850 of 1000" in HumanTask.objects.get(kind="finding", closed_at=None).text
    vendor.patch_account(number, credits_used=0)
    come()
    assert open_kinds() == []


def test_a_key_that_was_replaced_while_it_was_asked_about_is_left_alone(
    vendor: Any, people: Any, key: ApiKey
) -> None:
    old = KeyVersion.objects.get(key=key)
    key_checks.claim_due()
    drive(lifecycle.start(people.operator, key, Reason.MANUAL, overlap_seconds=0)[0])
    from keyvault.vendors.base import REFUSED, CheckResult

    key_checks.record_result(key, old, CheckResult(REFUSED, "gone"))
    assert KeyCheckSchedule.objects.get().refusals == 0


def test_the_task_hands_each_key_to_a_worker(key: ApiKey) -> None:
    key_checks.claim_due()
    KeyCheckSchedule.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
    watch()
    assert KeyCheckSchedule.objects.get().next_check_at > timezone.now()


# --- Pauses ---


def due(key: ApiKey, people: Any) -> None:
    from datetime import time

    wish = policies.Wish(30, time(3, 30), "UTC", overlap_seconds=0, quiet_seconds=1)
    policies.set_policy(people.operator, key, wish)
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(minutes=1))


@pytest.mark.parametrize("what", ["key", "account", "everything"])
def test_nothing_starts_by_itself_while_it_is_paused(
    place: Any, people: Any, key: ApiKey, what: str
) -> None:
    due(key, people)
    until = timezone.now() + timedelta(days=1)
    chosen = {"key": {"key": key}, "account": {"account": place.api_account}, "everything": {}}
    made = pauses.pause(people.owner, reason="a migration", ends_at=until, **chosen[what])
    assert scheduler.start_due() == 0
    assert list(pauses.lasting_on_key(key)) == [made]
    pauses.resume(people.owner, made)
    assert scheduler.start_due() == 1
    assert AuditEvent.objects.filter(action="pause.changed").count() == 2


def test_a_pause_ends_by_itself_and_holds_back_no_one_elses_key_nor_a_person(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    other = make_key(vendor, place, people.owner, name="other")
    due(other, people)
    until = timezone.now() + timedelta(days=1)
    pauses.pause(people.operator, key=key, reason="a migration", ends_at=until)
    assert scheduler.start_due() == 1
    assert lifecycle.start(people.operator, key, Reason.LEAK)[1], "a person's word counts"
    due(key, people)
    RotationPause.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    assert not pauses.visible_pauses(people.operator).exists()


def test_pauses_by_api_are_asked_for_and_explained(place: Any, people: Any, key: ApiKey) -> None:
    owner, operator, viewer = Api(people.owner), Api(people.operator), Api(people.viewer)
    until = (timezone.now() + timedelta(days=2)).isoformat()
    body = {"key": key.pk, "reason": "a migration", "ends_at": until}
    assert viewer.post("pauses/", body).status == 403
    made = operator.post("pauses/", body)
    assert (made.status, made.json["key"]["id"]) == (201, key.pk)
    again = operator.post("pauses/", {**body, "reason": "it takes longer"})
    assert again.json["id"] == made.json["id"], "one pause a key"
    assert operator.post("pauses/", {**body, "key": None}).status == 403
    late = (timezone.now() + timedelta(days=400)).isoformat()
    for wrong in ({"reason": "x"}, {"ends_at": late}, {"ends_at": "2020-01-01T00:00Z"}):
        assert owner.post("pauses/", {**body, **wrong}).status == 400
    assert len(viewer.get("pauses/").json["results"]) == 1
    assert operator.call("DELETE", f"pauses/{made.json['id']}/").status == 204
    assert operator.call("DELETE", f"pauses/{made.json['id']}/").status == 404


def test_pauses_on_the_pages(place: Any, people: Any, key: ApiKey) -> None:
    owner, operator = sign_in(Client(), people.owner), sign_in(Client(), people.operator)
    operator.post(f"/keys/{key.pk}/pause", {"reason": "a migration", "days": "3"})
    page = text(operator.get(f"/keys/{key.pk}/"))
    assert "This key is paused until" in page
    assert "a migration" in page
    assert operator.post("/pauses/", {"reason": "a migration", "days": "3"}).status_code == 403
    owner.post("/pauses/", {"reason": "the vendor moves", "days": "1"})
    assert "Everything is paused" in text(operator.get("/rotations/"))
    assert "Everything is paused" in text(operator.get(f"/keys/{key.pk}/"))
    assert owner.post("/pauses/", {"reason": "x", "days": "0"}).status_code == 400
    for one in RotationPause.objects.all():
        owner.post(f"/pauses/{one.pk}/resume")
    assert "paused" not in text(operator.get("/rotations/"))
    assert not RotationPause.objects.exists()


def test_the_accounts_page_shows_what_is_used_up(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    vendor.patch_account(place.vendor_api["id"], credits_total=1000, credits_used=310)
    come()
    assert "31 %" in text(sign_in(Client(), people.owner).get("/accounts/"))
