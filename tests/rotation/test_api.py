"""The API of rotations: start, watch, steer; tasks, policies, consumers; and the acknowledgement."""

import pytest

from keyvault.models import Application, Role, VendorAccount
from rotation.consumers import registry
from rotation.models import (
    Consumer,
    HumanTask,
    Rotation,
    RotationPolicy,
    Step,
    WaitingFor,
)
from tests.api_client import Api, acknowledge, counting, sign_in
from tests.factories import grant, make_key, make_member, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started

POLICY = {"every_days": 30, "at_time": "03:30", "time_zone": "Europe/Berlin"}


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def manual(vendor, place, people):
    return make_key(vendor, place, people.owner, name="by-hand", manual=True)


@pytest.fixture
def operator(people):
    return Api(people.operator)


@pytest.fixture
def consumer(people, place):
    return registry.add_consumer(people.owner, "web-1", place.application, place.environment)


@pytest.fixture
def app(consumer):
    return Api(token=consumer.token.reveal())


def at_dashboard(vendor, place):
    return vendor.create_key(place.vendor_manual["id"], label="by hand")["key"]


def open_task(rotation, kind):
    return HumanTask.objects.get(rotation=rotation, kind=kind, closed_at=None)


# --- Rotating ---


def test_it_starts_a_rotation_and_joins_the_open_one(people, operator, key):
    first = operator.post(f"keys/{key.pk}/rotate", {"reason": "incident", "overlap_seconds": 7})
    assert (first.status, first.json["joined"]) == (201, False)
    assert (first.json["reason"], first.json["overlap_seconds"]) == ("incident", 7)
    second = Api(people.owner).post(f"keys/{key.pk}/rotate")
    assert (second.status, second.json["joined"]) == (200, True)
    assert second.json["id"] == first.json["id"]
    assert Rotation.objects.count() == 1


def test_it_starts_nothing_on_a_wish_that_cannot_be(operator, key):
    wishes = [
        {"reason": "schedule"},
        {"reason": "because"},
        {"reason": None},
        {"overlap_seconds": -1},
        {"overlap_seconds": 2**31},
        {"overlap_seconds": "soon"},
        {"secret": "inf_0123456789abcdef"},
    ]
    for body in wishes:
        answer = operator.post(f"keys/{key.pk}/rotate", body)
        assert answer.status == 400, body
        assert "inf_0123456789abcdef" not in answer.text
    assert not Rotation.objects.exists()


def test_viewers_steer_nothing(people, key):
    rotation = started(people.operator, key)
    viewer = Api(people.viewer)
    assert viewer.get(f"rotations/{rotation.pk}/").status == 200
    for path, body in (
        (f"keys/{key.pk}/rotate", {}),
        (f"keys/{key.pk}/versions/", {"secret": "inf_0123456789abcdef"}),
        (f"rotations/{rotation.pk}/cancel", {}),
        (f"rotations/{rotation.pk}/retry", {}),
        (f"rotations/{rotation.pk}/waive", {"reason": "all have moved"}),
    ):
        answer = viewer.post(path, body)
        assert (answer.status, answer.code) == (403, "denied"), path
    assert viewer.call("PUT", f"keys/{key.pk}/policy", POLICY).status == 403


def test_a_rotation_is_watched_to_its_end(vendor, place, operator, app, key):
    number = operator.post(f"keys/{key.pk}/rotate", {"overlap_seconds": 0}).json["id"]
    rotation = Rotation.objects.get(pk=number)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    told = operator.get(f"rotations/{number}/").json
    assert (told["step"], told["waiting_for"]) == ("verify", "adoption")
    assert "web-1" in told["waiting_text"]
    assert list(dict.fromkeys(one["step"] for one in told["attempts"]))[:2] == [
        "generate",
        "update",
    ]
    assert (told["old_version"]["number"], told["new_version"]["number"]) == (1, 2)
    assert acknowledge(app, key, 2).status == 200
    drive(rotation)
    told = operator.get(f"rotations/{number}/").json
    assert (told["step"], told["is_open"]) == ("done", False)
    assert_all_is_well(vendor, place)


def test_cancel_retry_and_waive_keep_to_their_states(people, operator, consumer, key):
    rotation = started(people.operator, key)
    cancelled = operator.post(f"rotations/{rotation.pk}/cancel")
    assert (cancelled.status, cancelled.json["cancelling"]) == (200, True)
    assert operator.post(f"rotations/{rotation.pk}/cancel").status == 409
    drive(rotation)
    assert operator.post(f"rotations/{rotation.pk}/retry").status == 409
    second = started(people.operator, key)
    assert operator.post(f"rotations/{second.pk}/retry").status == 200
    assert operator.post(f"rotations/{second.pk}/waive", {"reason": "moved by hand"}).status == 409
    drive(second, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    assert operator.post(f"rotations/{second.pk}/waive", {"reason": "x"}).status == 400
    assert operator.post(f"rotations/{second.pk}/waive", {}).status == 400
    waived = operator.post(f"rotations/{second.pk}/waive", {"reason": "moved by hand"})
    assert waived.json["waiver_reason"] == "moved by hand"
    assert waived.json["waived_by"]["id"] == people.operator.pk


def test_a_standby_is_checked_and_kept(vendor, place, operator, manual):
    secret = at_dashboard(vendor, place)
    answer = operator.post(f"keys/{manual.pk}/versions/", {"secret": f"Bearer {secret}"})
    assert answer.status == 201
    assert (answer.json["version"]["state"], answer.json["check"]["answer"]) == ("standby", "valid")
    assert answer.json["notes"]
    assert secret not in answer.text
    again = operator.post(f"keys/{manual.pk}/versions/", {"secret": secret})
    assert (again.status, again.code) == (409, "duplicate")
    for odd in (f"…{secret[-4:]}", "***abc", "", None, 5):
        assert operator.post(f"keys/{manual.pk}/versions/", {"secret": odd}).status == 400
    assert manual.versions.count() == 2


# --- Tasks ---


def test_a_manual_rotation_is_done_through_its_tasks(vendor, place, people, operator, manual):
    rotation = started(people.operator, manual)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.KEY)
    (task,) = operator.get("tasks/?open=true&kind=paste").json["results"]
    assert task["dashboard_url"] == place.manual_account.dashboard_url
    path = f"tasks/{task['id']}/complete"
    for body in ({}, {"reason": "done"}, {"secret": ""}, {"secret": "***abc"}, {"secret": None}):
        assert operator.post(path, body).status == 400
    secret = at_dashboard(vendor, place)
    done = operator.post(path, {"secret": secret})
    assert (done.status, done.json["added"]["check"]["answer"]) == (200, "valid")
    assert secret not in done.text

    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    if not HumanTask.objects.filter(kind="confirm", closed_at=None).exists():
        answer = operator.post(f"rotations/{rotation.pk}/waive", {"reason": "nothing uses it"})
    else:
        confirm = open_task(rotation, "confirm")
        assert operator.post(f"tasks/{confirm.pk}/complete", {}).status == 400
        answer = operator.post(f"tasks/{confirm.pk}/complete", {"reason": "nothing uses it"})
    assert answer.status == 200

    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    delete = open_task(rotation, "delete")
    vendor.delete_key_by_secret(secret_of(rotation.old_version))
    assert operator.post(f"tasks/{delete.pk}/complete", {"secret": "x"}).status == 400
    rotation.refresh_from_db()
    wakes = rotation.wake
    assert operator.post(f"tasks/{delete.pk}/complete").status == 200
    rotation.refresh_from_db()
    assert rotation.wake == wakes + 1
    drive(rotation)
    assert rotation.step == Step.DONE
    closed = operator.post(f"tasks/{delete.pk}/complete")
    assert (closed.status, closed.code) == (409, "conflict")
    assert operator.get("tasks/?open=true").json["results"] == []
    assert_all_is_well(vendor, place)


def test_a_person_without_the_role_completes_no_task(people, vendor, place, operator, manual):
    rotation = started(people.operator, manual)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.KEY)
    task = open_task(rotation, "paste")
    looking = HumanTask.objects.create(kind="look", rotation=rotation, key=manual)
    deleting = HumanTask.objects.create(kind="delete", rotation=rotation, key=manual)
    confirming = HumanTask.objects.create(kind="confirm", rotation=rotation, key=manual)
    bodies = {
        task: {"secret": at_dashboard(vendor, place)},
        looking: {},
        deleting: {},
        confirming: {"reason": "all have moved"},
    }
    for one, body in bodies.items():
        assert Api(people.viewer).post(f"tasks/{one.pk}/complete", body).status == 403
        assert Api(people.outsider).post(f"tasks/{one.pk}/complete", body).status == 404
    assert operator.post(f"tasks/{looking.pk}/complete").status == 200


# --- Policies ---


def test_a_policy_is_set_shown_and_switched_off(operator, key):
    path = f"keys/{key.pk}/policy"
    assert operator.get(path).status == 404
    assert operator.call("DELETE", path).status == 404
    made = operator.call("PUT", path, POLICY)
    assert made.status == 200
    assert made.json["next_run_at"]
    assert {name: made.json[name] for name in ("every_days", "time_zone", "enabled")} == {
        "every_days": 30,
        "time_zone": "Europe/Berlin",
        "enabled": True,
    }
    assert operator.get(path).json == made.json
    assert operator.call("DELETE", path).status == 204
    assert operator.get(path).json["enabled"] is False
    assert RotationPolicy.objects.count() == 1


def test_an_impossible_policy_is_refused(operator, key):
    changes = [
        {"every_days": 0},
        {"every_days": 10**6},
        {"at_time": "25:00"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"overlap_seconds": -1},
        {"quiet_seconds": 30 * 86400},
        {"next_run_at": "2030-01-01T00:00:00Z"},
        {"key": 5},
        {"enabled": "perhaps"},
        {"rule": "someday"},
        {"missed": "perhaps"},
        {"every_days": None},
    ]
    for change in changes:
        answer = operator.call("PUT", f"keys/{key.pk}/policy", {**POLICY, **change})
        assert answer.status == 400, change
    # B118: shorter than what the vendor tells apart.
    key.account.settings = {"last_use_resolution_seconds": 86400}
    key.account.save()
    answer = operator.call("PUT", f"keys/{key.pk}/policy", {**POLICY, "quiet_seconds": 3600})
    assert (answer.status, "shows nothing" in str(answer.json)) == (400, True)
    assert not RotationPolicy.objects.exists()


# --- Accounts and consumers ---


def test_an_account_keeps_its_credential_to_itself(vendor, place, people, operator):
    canary = place.vendor_api["management_credential"]
    body = {
        "name": "Second",
        "provider": "sandbox",
        "base_url": vendor.url,
        "management_credential": canary,
    }
    assert operator.post("accounts/", body).status == 403
    owner = Api(people.owner)
    made = owner.post("accounts/", body)
    assert (made.status, made.json["has_management_credential"]) == (201, True)
    account = VendorAccount.objects.get(name="Second")
    for text in (made.text, owner.get("accounts/").text, owner.get(f"accounts/{account.pk}/").text):
        assert canary not in text
        assert str(account.management_path) not in text
    assert owner.post("accounts/", body).status == 409
    for change in (
        {"provider": "unknown"},
        {"provider": canary},
        {"base_url": "http://example.com"},
        {"base_url": "https://a:b@example.com"},
        {"name": "x", "management_credential": ""},
    ):
        answer = owner.post("accounts/", {**body, **change})
        assert answer.status == 400
        assert canary not in answer.text


def test_a_consumer_gets_its_secrets_once(people, place, operator, key):
    body = {
        "name": "web-9",
        "application": place.application.pk,
        "environment": place.environment.pk,
        "webhook_url": "https://hooks.example.com/keys",
    }
    assert operator.post("consumers/", body).status == 403
    owner = Api(people.owner)
    made = owner.post("consumers/", body)
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    assert made.json["webhook_secret"].startswith("whsec_")
    number = made.json["consumer"]["id"]
    app = Api(token=made.json["token"])
    assert acknowledge(app, key).json["consumer"] == "web-9"
    for path in ("consumers/", f"consumers/{number}/", "tokens/"):
        text = owner.get(path).text
        assert made.json["token"] not in text
        assert made.json["webhook_secret"] not in text
    assert owner.post("consumers/", body).status == 409
    assert owner.post("consumers/", {**body, "name": "x", "webhook_url": "ftp://x"}).status == 400
    assert operator.call("DELETE", f"consumers/{number}/").status == 404
    assert owner.call("DELETE", f"consumers/{number}/").status == 204
    assert app.get(f"keys/{key.pk}/secret").status == 401
    assert not Consumer.objects.get().active


# --- Nothing of others; bad input; cost ---


def test_foreign_and_unknown_things_are_not_found_alike(people, place, consumer, key):
    rotation = started(people.operator, key)
    task = HumanTask.objects.create(kind="look", rotation=rotation, key=key)
    theirs = Application.objects.create(name="Theirs")
    neighbour = grant(make_member("n@example.com"), Role.OPERATOR, application=theirs)
    things = [
        ("keys/{}/rotate", "POST", {}, key.pk),
        ("keys/{}/versions/", "POST", {"secret": "inf_0123456789abcdef"}, key.pk),
        ("keys/{}/policy", "GET", None, key.pk),
        ("keys/{}/policy", "PUT", POLICY, key.pk),
        ("keys/{}/policy", "DELETE", None, key.pk),
        ("rotations/{}/", "GET", None, rotation.pk),
        ("rotations/{}/cancel", "POST", {}, rotation.pk),
        ("rotations/{}/retry", "POST", {}, rotation.pk),
        ("rotations/{}/waive", "POST", {"reason": "all have moved"}, rotation.pk),
        ("tasks/{}/", "GET", None, task.pk),
        ("tasks/{}/complete", "POST", {}, task.pk),
        ("consumers/{}/", "GET", None, consumer.consumer.pk),
        ("consumers/{}/", "DELETE", None, consumer.consumer.pk),
    ]
    for api in (Api(people.outsider), Api(neighbour)):
        for path, method, body, number in things:
            answers = [api.call(method, path.format(n), body) for n in (number, 999, 2**70)]
            told = {(one.status, one.code, one.json["message"]) for one in answers}
            assert len(told) == 1, (method, path, told)
            assert answers[0].status == 404, (method, path)
    rotation.refresh_from_db()
    assert (rotation.cancelling, rotation.waived_at) == (False, None)
    assert Consumer.objects.get().active


def test_nul_is_refused_by_the_name_of_the_field(people, key):
    """B101."""
    started(people.operator, key)
    owner = Api(people.owner)
    places = [
        ("POST", "keys/1/rotate", ["reason"]),
        ("POST", "keys/1/versions/", ["secret"]),
        ("PUT", "keys/1/policy", ["at_time", "time_zone"]),
        ("POST", "rotations/1/waive", ["reason"]),
        ("POST", "accounts/", ["name", "provider", "base_url", "management_credential"]),
        ("POST", "consumers/", ["name", "webhook_url"]),
    ]
    for method, path, fields in places:
        for field in fields:
            answer = owner.call(method, path, {field: f"a{chr(0)}b"})
            assert (answer.status, answer.code) == (400, "odd_character")
            assert answer.json["details"] == {"fields": [field]}


def test_a_rotation_is_told_at_the_same_cost_however_long_its_history(people, operator, key):
    rotation = started(people.operator, key)
    HumanTask.objects.create(kind="paste", rotation=rotation, key=key, closed_by=people.owner)
    costs = []
    for _ in range(2):
        for path in (f"rotations/{rotation.pk}/", "rotations/?open=true", "tasks/?open=true"):
            with counting() as statements:
                assert operator.get(path).status == 200
            costs.append(len(statements))
        for kind in ("look", "delete", "confirm"):
            if len(costs) == 3:
                HumanTask.objects.create(
                    kind=kind, rotation=rotation, key=key, closed_by=people.viewer
                )
        drive(rotation, lambda r: r.step == Step.VERIFY)
    assert costs[:3] == costs[3:], costs
    assert max(costs) <= 12


def test_addresses_that_we_will_call_ask_for_a_proof_of_who_one_is(place, people):
    """AN-10: a session that was left open can have us send nothing anywhere."""
    stale = Api()
    sign_in(stale.client, people.owner, proved=False)
    consumer = {
        "name": "cron",
        "application": place.application.pk,
        "environment": place.environment.pk,
        "webhook_url": "https://hooks.example.com/x",
    }
    account = {"name": "Other", "provider": "influtics", "base_url": "https://api.example.com"}
    assert stale.post("consumers/", consumer).code == "proof_required"
    assert stale.post("accounts/", account).code == "proof_required"
    form = {
        "name": "cron",
        "environment": place.environment.pk,
        "webhook_url": "https://hooks.example.com/x",
    }
    page = stale.client.post(f"/applications/{place.application.pk}/consumers", form)
    assert "reauthenticate" in page.headers.get("Location", ""), page.content.decode()[:500]
