"""The API for members: strict input, one shape of errors, nothing of others, no secret by accident."""

import json

import pytest

from keyvault.audit.models import Action, AuditEvent
from keyvault.delivery import tokens
from keyvault.models import ApiKey, Application, Environment, Member, Role
from tests.api_client import LISTS, METHODS, Api, broken_audit, new_key, routes
from tests.factories import grant, make_key, make_member, secret_of

REASON = "incident 4711"


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def owner(people):
    return Api(people.owner)


@pytest.fixture
def theirs(place):
    """Return a place of another team with a person who may do everything there."""
    application = Application.objects.create(name="Theirs")
    member = grant(make_member("neighbour@example.com"), Role.OPERATOR, application=application)
    return application, member


def at_vendor(vendor, place):
    return vendor.create_key(place.vendor_api["id"], label="by hand")["key"]


# --- Who gets in ---


def test_every_route_denies_whoever_has_not_signed_in(key):
    nobody = Api()
    for path in routes():
        for method in METHODS:
            answer = nobody.call(method, path, {})
            assert answer.status in (401, 405), f"{method} {path}: {answer.status}"
            assert answer.code in ("not_signed_in", "token_refused", "method_not_allowed")
            assert answer.status == 405 or answer.headers["WWW-Authenticate"]


def test_a_change_without_the_cross_site_token_is_refused(people, key):
    browser = Api(people.owner, enforce_csrf_checks=True)
    answer = browser.post(f"keys/{key.pk}/reveal", {"password": people.password, "reason": REASON})
    assert (answer.status, answer.code) == (403, "permission_denied")
    assert not AuditEvent.objects.filter(action=Action.SECRET_REVEALED).exists()


def test_a_service_token_opens_nothing_of_a_member(people, place, key):
    token = tokens.issue(people.owner, "web", place.application, place.environment)[1].reveal()
    for path in LISTS:
        assert Api(token=token).get(path).status == 401


def test_a_member_who_was_locked_out_is_out_at_once(people, key):
    api = Api(people.operator)
    assert api.get("keys/").status == 200
    Member.objects.filter(pk=people.operator.pk).update(is_active=False)
    assert api.get("keys/").status == 401


# --- Nothing of others (B59) ---


def test_foreign_and_unknown_things_are_not_found_alike(vendor, place, people, theirs, key):
    token = tokens.issue(people.owner, "web", place.application, place.environment)[0]
    things = [
        (f"keys/{{}}/{rest}", method, key.pk)
        for rest, method in (("", "GET"), ("", "PUT"), ("", "PATCH"), ("check", "POST"))
    ]
    things += [
        ("keys/{}/reveal", "POST", key.pk),
        ("applications/{}/", "GET", place.application.pk),
        ("tokens/{}/", "GET", token.pk),
        ("tokens/{}/", "DELETE", token.pk),
    ]
    body = {"password": people.password, "reason": REASON}
    for api in (Api(people.outsider), Api(theirs[1])):
        for path, method, number in things:
            given = body if "reveal" in path else {}
            answers = [api.call(method, path.format(one), given) for one in (number, 999, 2**70)]
            told = [(one.status, one.code, one.json["message"]) for one in answers]
            assert len(set(told)) == 1, (method, path)
            assert told[0][0] == 404, f"{method} {path}: {told[0]}"
    assert Api(people.outsider).get(f"accounts/{place.api_account.pk}/").status == 404
    assert Api(people.outsider).get(f"environments/{place.environment.pk}/").status == 404


def test_lists_hold_nothing_of_others(place, people, theirs, key):
    tokens.issue(people.owner, "web", place.application, place.environment)
    for path in ("keys/", "tokens/", "consumers/", "rotations/", "tasks/"):
        assert Api(theirs[1]).get(path).json == {"results": [], "next": None}
    names = [one["name"] for one in Api(theirs[1]).get("applications/").json["results"]]
    assert names == ["Theirs"]
    for path in LISTS[:-1]:
        assert Api(people.outsider).get(path).json == {"results": [], "next": None}
    for name in ("application", "account", "environment"):
        filtered = Api(theirs[1]).get(f"keys/?{name}={getattr(key, name + '_id')}")
        assert filtered.json["results"] == []


def test_a_role_in_one_environment_shows_that_one_only(vendor, place, people):
    make_key(vendor, place, people.owner, name="dev")
    make_key(vendor, place, people.owner, name="prod", environment=place.production)
    for where in (place.environment, place.production):
        tokens.issue(people.owner, "web", place.application, where)
    member = grant(
        make_member("narrow@example.com"),
        Role.VIEWER,
        application=place.application,
        environment=place.production,
    )
    api = Api(member)
    assert [one["name"] for one in api.get("keys/").json["results"]] == ["prod"]
    (token,) = api.get("tokens/").json["results"]
    assert token["environment"]["name"] == "Production"
    assert [one["name"] for one in api.get("environments/").json["results"]] == ["Production"]


def test_options_tells_nothing(people, place, theirs, key):
    """B59: no choice lists of related rows, no descriptions of fields."""
    neighbour = Api(theirs[1])
    for path in routes():
        answer = neighbour.call("OPTIONS", path)
        assert answer.status == 405, path
        for word in ("Billing", "billing", "Development", "choices"):
            assert word not in answer.text


def test_a_key_cannot_be_put_into_the_application_of_others(vendor, place, people, theirs, key):
    """B59: neither when it is recorded nor by an edit."""
    secret = at_vendor(vendor, place)
    answer = Api(theirs[1]).post("keys/", new_key(place, secret))
    assert (answer.status, answer.code) == (404, "not_found")
    operator = Api(people.operator)
    assert operator.post("keys/", new_key(place, secret, application=theirs[0].pk)).status == 404
    for body in ({"application": theirs[0].pk}, {"environment": place.production.pk}):
        answer = operator.call("PATCH", f"keys/{key.pk}/", body)
        assert (answer.status, answer.code) == (400, "not_editable")
    assert ApiKey.objects.count() == 1


# --- Keys ---


def test_it_records_a_key_and_never_shows_its_secret(vendor, place, owner):
    secret = at_vendor(vendor, place)
    answer = owner.post("keys/", new_key(place, f"  {secret}\n", purpose="Sends invoices"))
    assert answer.status == 201
    assert answer.json["check"]["answer"] == "valid"
    assert answer.json["notes"] == ["White space around the key was removed."]
    key = ApiKey.objects.get(pk=answer.json["key"]["id"])
    assert (key.name, secret_of(key.current)) == ("fresh", secret)
    texts = [answer.text, owner.get("keys/").text, owner.get(f"keys/{key.pk}/").text]
    for text in texts:
        assert secret not in text
        assert key.current.fingerprint not in text
        assert str(key.current.path) not in text
        assert key.current.tail in text


def test_a_member_records_a_key_of_their_own(vendor, place, people):
    body = new_key(place, at_vendor(vendor, place), mine=True)
    del body["application"]
    answer = Api(people.viewer).post("keys/", body)
    assert answer.status == 201
    assert answer.json["key"]["member"]["id"] == people.viewer.pk
    assert Api(people.operator).get(f"keys/{answer.json['key']['id']}/").status == 404


def test_it_records_no_key_with_an_unusable_secret(place, owner):
    for secret in ["", None, "***abc", "••••••••cdef", 12345678, ["a"], "a\0b"]:
        answer = owner.post("keys/", new_key(place, secret))
        assert (answer.status, answer.json["code"]) == (400, answer.code)
    assert not ApiKey.objects.exists()


def test_no_edit_can_reach_the_secret(vendor, place, people, owner, key):
    """B06: a mask, an empty, a null, a real or a half secret in an edit is refused, never stored."""
    tail = key.current.tail
    fresh = at_vendor(vendor, place)
    offers = [f"…{tail}", f"****{tail}", "", None, "***abc", f"****{tail}{fresh}", fresh]
    for method in ("PATCH", "PUT"):
        for offer in offers:
            for field in ("secret", "current", "versions"):
                body = {"name": "renamed", "purpose": "x", field: offer}
                answer = owner.call(method, f"keys/{key.pk}/", body)
                assert (answer.status, answer.code) == (400, "not_editable")
                assert "versions/" in answer.json["message"]
                assert fresh not in answer.text
    key.refresh_from_db()
    assert (key.name, key.current_id, key.versions.count()) == ("billing", key.current_id, 1)
    # Writing back exactly what was read is refused as well, and a plain rename works.
    assert owner.call("PUT", f"keys/{key.pk}/", owner.get(f"keys/{key.pk}/").json).status == 400
    before = secret_of(key.current)
    answer = owner.call("PATCH", f"keys/{key.pk}/", {"purpose": "Sends invoices"})
    assert (answer.status, answer.json["name"]) == (200, "billing")
    assert owner.call("PUT", f"keys/{key.pk}/", {"name": "renamed"}).status == 400
    assert owner.call("PUT", f"keys/{key.pk}/", {"name": "renamed", "purpose": ""}).status == 200
    key.refresh_from_db()
    assert (key.name, key.purpose, secret_of(key.current)) == ("renamed", "", before)


def test_a_name_is_refused_when_it_is_used_odd_or_empty(vendor, place, people, owner, key):
    make_key(vendor, place, people.owner, name="other")
    for name, status in (
        ("OTHER", 409),
        ("", 400),
        ("  ", 400),
        ("a\u200bb", 400),
        ("x" * 101, 400),
    ):
        assert owner.call("PATCH", f"keys/{key.pk}/", {"name": name}).status == status
    key.refresh_from_db()
    assert key.name == "billing"


def test_a_viewer_changes_and_reveals_nothing(people, key):
    viewer = Api(people.viewer)
    assert viewer.call("PATCH", f"keys/{key.pk}/", {"name": "mine"}).status == 403
    body = {"password": people.password, "reason": REASON}
    assert viewer.post(f"keys/{key.pk}/reveal", body).status == 403


def test_a_reveal_needs_password_and_reason_and_is_recorded(people, key):
    api, path = Api(people.developer), f"keys/{key.pk}/reveal"
    good = {"password": people.password, "reason": REASON}
    for wrong, status in (
        ({"password": "guess"}, 403),
        ({"password": ""}, 403),
        ({"reason": ""}, 400),
        ({"reason": "x"}, 400),
    ):
        answer = api.post(path, {**good, **wrong})
        assert answer.status == status
        assert secret_of(key.current) not in answer.text
    answer = api.post(path, good)
    assert (answer.status, answer.json["secret"]) == (200, secret_of(key.current))
    assert answer.headers["Cache-Control"] == "no-store"
    assert api.get(path).status == 405
    outcomes = AuditEvent.objects.filter(action=Action.SECRET_REVEALED).order_by("seq")
    assert [row.outcome for row in outcomes] == ["denied"] * 4 + ["ok"]


def test_nothing_is_revealed_when_the_audit_log_cannot_be_written(people, key):
    body = {"password": people.password, "reason": REASON}
    with broken_audit():
        answer = Api(people.developer).post(f"keys/{key.pk}/reveal", body)
    assert (answer.status, answer.code) == (503, "audit_unavailable")
    assert secret_of(key.current) not in answer.text


def test_it_checks_a_key_with_the_vendor(vendor, people, key):
    api = Api(people.viewer)
    assert api.post(f"keys/{key.pk}/check").json["answer"] == "valid"
    vendor.delete_key_by_secret(secret_of(key.current))
    assert api.post(f"keys/{key.pk}/check").json["answer"] == "refused"
    assert api.get(f"keys/{key.pk}/").json["current"]["check_answer"] == "refused"


# --- Places and tokens ---


def test_owners_add_applications_and_environments_once(people, owner):
    for path, body in (
        ("applications/", {"name": "Mailer", "team": "Growth", "contact": "a@example.com"}),
        ("environments/", {"name": "Staging", "position": 3}),
    ):
        made = owner.post(path, body)
        assert made.status == 201
        assert owner.get(f"{path}{made.json['id']}/").json == made.json
        again = owner.post(path, {**body, "name": body["name"].upper()})
        assert (again.status, again.code) == (409, "name_used")
        for member in (people.operator, people.outsider):
            answer = Api(member).post(path, {**body, "name": "More"})
            assert (answer.status, answer.code) == (403, "denied")
    assert Application.objects.filter(name="Mailer").count() == 1
    assert Environment.objects.filter(name="Staging").count() == 1
    assert AuditEvent.objects.filter(action=Action.APPLICATION_CREATED).count() == 1


def test_a_token_is_shown_once(people, place, owner, key):
    body = {"name": "web", "application": place.application.pk, "environment": place.environment.pk}
    made = owner.post("tokens/", body)
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    text, number = made.json["text"], made.json["token"]["id"]
    assert Api(token=text).get(f"keys/{key.pk}/secret").status == 200
    for path in ("tokens/", f"tokens/{number}/"):
        assert text not in owner.get(path).text
        assert "digest" not in owner.get(path).text
    assert Api(people.operator).post("tokens/", {**body, "name": "more"}).status == 403
    assert Api(people.viewer).call("DELETE", f"tokens/{number}/").status == 404
    assert owner.call("DELETE", f"tokens/{number}/").status == 204
    assert owner.call("DELETE", f"tokens/{number}/").status == 409
    assert Api(token=text).get(f"keys/{key.pk}/secret").status == 401


# --- Audit ---


def test_reading_the_audit_log_is_recorded_and_kept_to_few(people, key):
    for member in (people.owner, people.auditor):
        answer = Api(member).get(f"audit/?action=key.registered&key={key.pk}")
        (row,) = answer.json["results"]
        assert (row["action"], row["key_id"]) == ("key.registered", key.pk)
    for member in (people.operator, people.viewer, people.outsider):
        assert Api(member).get("audit/").status == 403
    reads = AuditEvent.objects.filter(action=Action.AUDIT_READ).order_by("seq")
    assert [row.outcome for row in reads] == ["ok", "ok", "denied", "denied", "denied"]
    assert json.loads(reads[0].payload)["detail"]["asked"]


def test_the_audit_log_narrows_by_actor_and_time_and_turns_pages(people, key):
    api = Api(people.auditor)
    by_owner = api.get(f"audit/?actor_kind=member&actor={people.owner.pk}&outcome=ok").json
    assert {row["actor_id"] for row in by_owner["results"]} == {str(people.owner.pk)}
    first = api.get("audit/?limit=1").json
    second = api.get(f"audit/?limit=1&cursor={first['next']}").json
    assert second["results"][0]["seq"] == first["results"][0]["seq"] - 1
    assert second["results"][0]["hash"] == first["results"][0]["prev"]
    assert (
        api.get("audit/?since=2000-01-01T00:00:00Z&until=2000-01-02T00:00:00Z").json["results"]
        == []
    )
