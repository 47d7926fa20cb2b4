"""The commands of rotation: list, plan, rotate, and what the sandbox is filled with."""

import json
from datetime import time, timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from keyvault.management.commands.rotatekey import FAILED, follow
from keyvault.models import ApiKey, Application, Environment, KeyVersion, Member, VendorAccount
from rotation.engine import lifecycle
from rotation.models import Consumer, Reason, Rotation, RotationPolicy, Step
from rotation.scheduling.policies import Wish, set_policy
from tests.commands import Ran, call, manage
from tests.factories import make_key, secret_of
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people) -> ApiKey:
    return make_key(vendor, place, people.owner, name="invoices")


@pytest.fixture
def manual_key(vendor, place, people) -> ApiKey:
    return make_key(vendor, place, people.owner, manual=True, name="videos")


def every(days: int, by: Member, key: ApiKey) -> RotationPolicy:
    return set_policy(by, key, Wish(days, time(3, 0), "UTC", 3600, 3600))


# --- listkeys ---


def test_it_lists_keys_with_everything_but_the_secret(stack, people, key, manual_key):
    ran = manage(stack, "listkeys", "--json")
    assert ran.code == 0
    assert [row["name"] for row in ran.json] == ["videos", "invoices"]
    row = ran.json[1]
    assert (row["owner"], row["version"], row["check"]) == ("Billing", 1, "valid")
    secret = secret_of(key.current)
    assert row["tail"] == secret[-4:]
    assert secret not in ran.out + call("listkeys").out


def test_it_narrows_the_list(vendor, place, people, key, manual_key):
    other = make_key(vendor, place, people.owner, name="live", environment=place.production)

    def names(*filters: str) -> list[str]:
        return sorted(row["name"] for row in call("listkeys", "--json", *filters).json)

    assert names("--account", "influtics") == ["videos"]
    assert names("--environment", "Production") == ["live"]
    assert names("--application", "BILLING") == ["invoices", "live", "videos"]
    assert names("--search", "INV") == ["invoices"]
    assert names("--search", other.current.tail) == ["live"]
    assert names("--by", "operator@example.com") == ["invoices", "live", "videos"]
    assert names("--by", "outsider@example.com") == []
    assert call("listkeys", "--by", "outsider@example.com").out.strip() == "No keys."


def test_a_filter_for_something_unknown_is_an_error_not_an_empty_list(people, key):
    ran = call("listkeys", "--environment", "Moon")
    assert (ran.code, ran.out) == (1, "")


def test_overdue_keys_are_those_past_their_date(vendor, place, people, key, manual_key):
    late = make_key(vendor, place, people.owner, name="late")
    every(30, people.owner, key)
    every(30, people.owner, late)
    RotationPolicy.objects.filter(key=late).update(next_run_at=timezone.now() - timedelta(hours=1))
    KeyVersion.objects.filter(key=manual_key).update(
        expires_at=timezone.now() - timedelta(minutes=1)
    )
    rows = call("listkeys", "--overdue", "--json").json
    assert sorted(row["name"] for row in rows) == ["late", "videos"]
    assert all(row["overdue"] for row in rows)
    RotationPolicy.objects.filter(key=late).update(enabled=False)
    assert len(call("listkeys", "--overdue", "--json").json) == 1


def test_it_says_which_keys_are_being_rotated(people, key):
    started(people.operator, key)
    assert "rotating: generate" in call("listkeys").out


def test_the_list_needs_as_many_statements_for_many_keys_as_for_one(
    vendor, place, people, key, django_assert_max_num_queries
):
    for number in range(4):
        make_key(vendor, place, people.owner, name=f"more-{number}")
    with django_assert_max_num_queries(2):
        assert len(call("listkeys", "--json").json) == 5


# --- listduerotations ---


def test_the_plan_names_each_run_in_its_order(vendor, place, people, key, manual_key):
    every(7, people.owner, key)
    every(20, people.owner, manual_key)
    runs = call("listduerotations", "--json").json
    assert [run["name"].rsplit(" / ")[-1] for run in runs].count("invoices") == 4
    assert [run["at"] for run in runs] == sorted(run["at"] for run in runs)
    assert all(run["at"].endswith("03:00:00Z") for run in runs)
    # The first run is at three o'clock, so up to a day later than the seven from now.
    assert len(call("listduerotations", "--days", "8", "--json").json) == 1
    assert "every 20 days" in call("listduerotations").out


def test_missed_runs_stand_in_the_plan_as_one(people, key):
    every(7, people.owner, key)
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(days=21))
    runs = call("listduerotations", "--days", "5", "--json").json
    assert [run["overdue"] for run in runs] == [True]


def test_a_policy_that_is_off_is_not_in_the_plan(people, key):
    every(7, people.owner, key)
    RotationPolicy.objects.update(enabled=False)
    assert call("listduerotations").out.strip() == "Nothing is planned."


def test_the_plan_names_what_is_in_the_way_of_each_run(vendor, place, people, key):
    other = make_key(vendor, place, people.owner, name="sibling")
    every(7, people.owner, key)
    every(7, people.owner, other)
    KeyVersion.objects.filter(key=other).update(expires_at=timezone.now() + timedelta(days=10))
    RotationPolicy.objects.update(next_run_at=timezone.now() + timedelta(days=8))
    with override_settings(MAX_ROTATIONS_PER_ACCOUNT=1):
        runs = call("listduerotations", "--days", "20", "--json").json
        assert "another key of its application is due" in runs[0]["conflict"]
        assert "more are due at Sandbox than may run there at once" in runs[0]["conflict"]
    second = [run for run in runs if run["key"] == other.pk][1]
    assert "the key ends before it" in second["conflict"]
    assert "take turns" in call("listduerotations").out


@pytest.mark.parametrize("days", ["0", "-3", "4000"])
def test_the_plan_refuses_impossible_spans(database, days):
    assert call("listduerotations", f"--days={days}").code == 2


# --- rotatekey ---


def test_it_starts_a_rotation_and_a_second_call_joins_it(people, key):
    first = call("rotatekey", key.pk, "--reason", "incident", "--overlap", "30", "--json")
    assert (first.code, first.json["new"], first.json["step"]) == (0, True, "generate")
    rotation = Rotation.objects.get()
    assert (rotation.reason, rotation.overlap_seconds) == (Reason.INCIDENT, 30)
    assert rotation.requested_by == people.owner
    second = call("rotatekey", "Sandbox/Development/Invoices")
    assert (second.code, "was open: joined it" in second.out) == (0, True)
    assert Rotation.objects.count() == 1


def test_waiting_ends_well_when_the_key_was_replaced(stack, worker, people, key):
    old = secret_of(key.current)
    ran = manage(stack, "rotatekey", key.pk, "--overlap", "0", "--wait", "--timeout", "40")
    assert ran.code == 0, ran.out + ran.err
    for step in ("generate", "update", "verify", "delete", "done"):
        assert step in ran.out
    key.refresh_from_db()
    new = secret_of(key.current)
    assert new != old
    assert not any(secret in ran.out + ran.err for secret in (old, new))


def test_waiting_in_json_prints_one_document(people, key):
    ran = call("rotatekey", key.pk, "--wait", "--timeout", "0", "--json")
    assert (ran.code, ran.json["step"], ran.json["task"]) == (4, "generate", None)


def test_waiting_says_what_a_person_must_do_and_where(people, manual_key):
    drive(started(people.operator, manual_key), lambda rotation: rotation.tasks.exists())
    ran = call("rotatekey", manual_key.pk, "--wait", "--timeout", "5", "--json")
    assert (ran.code, ran.json["waiting_for"]) == (3, "key")
    task = Rotation.objects.get().tasks.get()
    assert ran.json["task"]["id"] == task.pk
    assert ran.json["task"]["url"].endswith(f"/tasks/{task.pk}/")
    told = call("rotatekey", manual_key.pk, "--wait", "--timeout", "5")
    assert (told.code, f"/tasks/{task.pk}/" in told.out) == (3, True)


def test_waiting_ends_badly_when_the_rotation_was_cancelled(people, manual_key):
    rotation = started(people.operator, manual_key)
    lifecycle.cancel(people.operator, rotation)
    drive(rotation)
    told: list[str] = []
    assert follow(rotation, 20, told.append) == FAILED
    assert rotation.step == Step.CANCELLED
    assert told


def test_waiting_stops_when_the_time_is_up_and_the_rotation_goes_on(people, key):
    ran = call("rotatekey", key.pk, "--wait", "--timeout", "1")
    assert ran.code == 4
    assert Rotation.objects.get().is_open


def test_it_refuses_a_person_who_may_not_rotate(people, key):
    ran = call("rotatekey", key.pk, "--by", "viewer@example.com", "--json")
    assert (ran.code, ran.json["code"]) == (1, "denied")
    assert not Rotation.objects.exists()


def test_it_refuses_what_makes_no_sense(stack, people, key):
    assert manage(stack, "rotatekey", key.pk, "--overlap", "-1").code == 2
    for wrong in (("--overlap", "soon"), ("--reason", "schedule"), ("--timeout", "9" * 12)):
        assert "Error: argument" in call("rotatekey", key.pk, *wrong).err
    assert not Rotation.objects.exists()


def test_a_broker_that_is_away_does_not_keep_a_rotation_from_starting(stack, people, key):
    ran = manage(stack, "rotatekey", key.pk, CELERY_BROKER_URL="redis://127.0.0.1:1/")
    assert ran.code == 0, ran.err
    assert Rotation.objects.get().due_at is not None


# --- seedsandbox ---


def seed(stack, vendor, given: object) -> Ran:
    text = given if isinstance(given, str) else json.dumps(given)
    urls = ("--vendor-url", vendor.url, "--dashboard-url", vendor.url)
    return manage(stack, "seedsandbox", "--json", *urls, stdin=text, kind="owner")


@pytest.fixture
def given(vendor, database) -> dict[str, str]:
    """Return what the launcher gives: credentials and keys of two fresh vendor accounts."""
    call("createowner", "first@example.com")
    api, manual = vendor.create_account("api"), vendor.create_account("manual")
    key = vendor.create_key(api["id"], label="by hand")
    return {
        "management_credential": api["management_credential"],
        "api_secret": key["key"],
        "api_key_vendor_id": key["id"],
        "manual_secret": vendor.create_key(manual["id"])["key"],
        "webhook_url": "http://127.0.0.1:9/hook",
    }


def test_it_fills_a_fresh_installation(stack, vendor, given):
    ran = seed(stack, vendor, given)
    assert (ran.code, ran.err) == (0, "")
    answer = ran.json
    key = ApiKey.objects.get(pk=answer["key"])
    assert str(key) == "Sandbox vendor / Production / billing-dashboard"
    assert key.current.vendor_id == given["api_key_vendor_id"]
    assert secret_of(key.current) == given["api_secret"]
    manual = ApiKey.objects.get(pk=answer["manual_key"])
    assert str(manual) == "Influtics / Production / billing-dashboard-influtics"
    assert VendorAccount.objects.get(pk=answer["api_account"]).provider == "sandbox"
    assert VendorAccount.objects.get(pk=answer["manual_account"]).provider == "influtics"
    assert Application.objects.get(pk=answer["application"]).name == "Billing dashboard"
    assert Environment.objects.get(pk=answer["environment"]).is_production
    assert not Environment.objects.get(name="Development").is_production
    consumer = Consumer.objects.get(name="sample-app")
    assert consumer.webhook_url == given["webhook_url"]
    assert answer["token"].startswith(f"kvt_{consumer.token.public_id}")
    assert answer["webhook_secret"].startswith("whsec_")
    assert not any(given[name] in ran.out for name in ("management_credential", "api_secret"))


def test_seeding_again_answers_the_same_and_shows_no_secret(stack, vendor, given):
    first = seed(stack, vendor, given).json
    again = seed(stack, vendor, given).json
    assert again == {**first, "token": None, "webhook_secret": None}
    assert ApiKey.objects.count() == 2


def test_a_seeded_account_can_rotate_its_key(stack, vendor, given):
    answer = seed(stack, vendor, given).json
    Consumer.objects.update(active=False)
    key = ApiKey.objects.get(pk=answer["key"])
    rotation = drive(started(Member.objects.get(), key))
    assert rotation.step == Step.DONE


def test_keys_that_are_given_later_are_recorded_then(stack, vendor, given):
    only = {"management_credential": given["management_credential"]}
    first = seed(stack, vendor, only).json
    assert (first["key"], first["manual_key"], first["webhook_secret"]) == (None, None, None)
    assert first["token"]
    assert seed(stack, vendor, given).json["key"]


def test_seeding_refuses_input_of_another_shape_without_repeating_it(stack, vendor, given):
    for wrong in ('{"management_credential": "mgmt_Canary', "[]", '{"management_credential": 5}'):
        ran = seed(stack, vendor, wrong)
        assert ran.code == 2
        assert "Canary" not in ran.out + ran.err
        assert "Traceback" not in ran.err
    assert not VendorAccount.objects.exists()
