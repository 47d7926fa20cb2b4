"""The hot path: an application fetches its secrets with a service token, and nothing else opens."""

import json
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from keyvault.audit.models import Action, AuditEvent
from keyvault.delivery import fetch, tokens
from keyvault.models import Application, ServiceToken, TokenKeyVersion
from tests.api_client import Api, broken_audit, counting
from tests.factories import make_key, secret_of


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def token(place, people):
    return tokens.issue(people.owner, "web", place.application, place.environment)[1].reveal()


@pytest.fixture
def app(token):
    return Api(token=token)


def of_key(key):
    return f"keys/{key.pk}/secret"


def of_all(place, environment=None):
    environment = environment or place.environment
    return f"applications/{place.application.pk}/environments/{environment.pk}/secrets"


def rows(action=Action.SECRET_FETCHED):
    return list(AuditEvent.objects.filter(action=action).order_by("seq"))


def test_it_gives_the_current_secret_with_a_tag_and_out_of_caches(app, key):
    answer = app.get(of_key(key))
    assert answer.status == 200
    assert answer.json.pop("fetched_at") <= timezone.now().isoformat()
    assert {name: answer.json[name] for name in ("key_id", "version", "version_id", "secret")} == {
        "key_id": key.pk,
        "version": 1,
        "version_id": key.current_id,
        "secret": secret_of(key.current),
    }
    assert set(answer.json) == {"key_id", "version", "version_id", "secret", "fetched_at"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["ETag"] == f'"{key.current_id}"'


def test_it_records_the_fetch_with_token_key_and_version(app, key):
    answer = app.get(of_key(key))
    (row,) = rows()
    assert (row.actor_kind, row.outcome, row.key_id) == ("token", "ok", key.pk)
    assert row.request_id == answer.headers["X-Request-Id"]
    assert json.loads(row.payload)["detail"] == {"version": 1}


def test_it_releases_and_records_nothing_when_the_caller_has_the_version(app, key):
    tag = app.get(of_key(key)).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"0", {tag}', f'{tag}, "x"'):
        answer = app.get(of_key(key), **{"If-None-Match": known})
        assert (answer.status, answer.text) == (304, "")
        assert answer.headers["ETag"] == f'"{key.current_id}"'
    assert len(rows()) == 1


def test_it_sends_the_secret_again_for_any_other_tag(app, key):
    number = key.current_id
    others = ["", "*", '"0"', "nonsense", "\0", f'"{number}0"', f'"1{number}"', f"{number}"]
    for known in others:
        assert app.get(of_key(key), **{"If-None-Match": known}).status == 200, known
    assert len(rows()) == len(others)


def test_it_refuses_every_other_authorization_alike(token, key):
    headers = [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {token}",
        f"Token {token}",
        token,
        f"Bearer {token} {token}",
        f"Bearer, {token}",
        f"Bearer {token}x",
        f"Bearer \0{token}",
        "Bearer kvt_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa00000000",
        "Bearer inf_0123456789abcdef0123",
        "Bearer é",
        "Bearer " + "a" * 7000,
    ]
    for header in headers:
        answer = Api().get(of_key(key), Authorization=header)
        assert (answer.status, answer.code) == (401, "token_refused"), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert secret_of(key.current) not in answer.text
    assert rows() == []
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert Api().get(of_key(key), Authorization=f"{scheme} {token}").status == 200


def test_it_asks_for_a_token_when_none_was_sent(key):
    answer = Api().get(of_key(key))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_session_never_stands_in_for_a_token(people, key):
    for member in (people.owner, people.developer):
        answer = Api(member).get(of_key(key))
        assert (answer.status, answer.code) == (401, "token_refused")


def test_a_token_in_the_address_opens_nothing(token, key):
    for name in ("token", "access_token", "authorization"):
        assert Api().get(f"{of_key(key)}?{name}={token}").status == 401


def test_revoked_and_expired_tokens_open_nothing_and_are_recorded(people, place, key):
    issued, text = tokens.issue(people.owner, "old", place.application, place.environment)
    ServiceToken.objects.filter(pk=issued.pk).update(expires_at=timezone.now() - timedelta(1))
    assert Api(token=text.reveal()).get(of_key(key)).status == 401
    ServiceToken.objects.filter(pk=issued.pk).update(expires_at=None)
    assert Api(token=text.reveal()).get(of_key(key)).status == 200
    tokens.revoke(people.owner, issued)
    assert Api(token=text.reveal()).get(of_key(key)).status == 401
    refused = rows(Action.TOKEN_REFUSED)
    assert len(refused) == 2
    assert all(issued.public_id in row.payload for row in refused)
    assert not any(text.reveal() in row.payload for row in refused)


def test_a_token_reaches_only_its_own_application_and_environment(vendor, people, place, app, key):
    other = make_key(vendor, place, people.owner, environment=place.production)
    theirs = Application.objects.create(name="Theirs")
    text = tokens.issue(people.owner, "theirs", theirs, place.environment)[1].reveal()
    answers = [
        app.get(of_key(other)),
        app.get("keys/999999/secret"),
        app.get(f"keys/{2**70}/secret"),
        Api(token=text).get(of_key(key)),
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(404, "not_found")}
    assert len({answer.json["message"] for answer in answers}) == 1
    assert {row.outcome for row in rows()} == {"denied"}


def test_a_persons_own_key_is_never_given_to_an_application(people, app, key):
    type(key).objects.filter(pk=key.pk).update(application=None, member=people.developer)
    assert app.get(of_key(key)).status == 404


def test_it_answers_to_get_only(app, key):
    for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
        answer = app.call(method, of_key(key))
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert rows() == []


def test_nothing_leaves_when_the_audit_log_cannot_be_written(app, place, key):
    """Invariant 5: the row comes first, so without it there is no secret."""
    secret = secret_of(key.current)
    with broken_audit():
        answers = [app.get(of_key(key)), app.get(of_all(place))]
    for answer in answers:
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        assert answer.headers["Retry-After"]
        assert secret not in answer.text
    assert not TokenKeyVersion.objects.exists()


def test_the_row_stands_even_when_vault_then_has_no_secret(app, key):
    type(key.current).objects.filter(pk=key.current_id).update(
        path="00000000-0000-0000-0000-000000000000"
    )
    answer = app.get(of_key(key))
    assert answer.status >= 500
    assert answer.code
    assert len(rows()) == 1


def test_a_busy_database_gets_a_plain_word_and_no_trace(app, key):
    with connections["owner"].cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE keyvault_servicetoken IN ACCESS EXCLUSIVE MODE")
        try:
            answer = app.get(of_key(key))
        finally:
            cursor.execute("ROLLBACK")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert "keyvault_servicetoken" not in answer.text
    assert app.get(of_key(key)).status == 200


def test_what_nobody_foresaw_is_a_reference_and_no_trace(app, key):
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE keyvault_apikey RENAME COLUMN name TO aim")
        try:
            answer = app.get(of_key(key))
        finally:
            cursor.execute("ALTER TABLE keyvault_apikey RENAME COLUMN aim TO name")
    assert (answer.status, answer.code) == (500, "server_error")
    assert answer.json["details"] == {"reference": answer.headers["X-Request-Id"]}
    assert answer.headers["Cache-Control"] == "no-store"
    assert "key.name" not in answer.text


def test_it_notes_who_holds_which_version_since_when(app, key):
    app.get(of_key(key))
    first = TokenKeyVersion.objects.get()
    app.get(of_key(key))
    again = TokenKeyVersion.objects.get()
    assert (again.key_id, again.version_id) == (key.pk, key.current_id)
    assert again.first_at == first.first_at


def test_a_steady_fetch_costs_one_statement_however_much_there_is(vendor, place, people, app, key):
    app.get(of_key(key))
    with counting() as few:
        app.get(of_key(key))
    for _ in range(4):
        make_key(vendor, place, people.owner)
    with counting() as many:
        app.get(of_key(key))
    assert len(few) == len(many) == 1, many


class TestAllSecretsAtOnce:
    """One application in one environment, in one answer."""

    def test_it_gives_each_current_secret_of_the_place_and_no_other(
        self, vendor, place, people, app, key
    ):
        second = make_key(vendor, place, people.owner)
        make_key(vendor, place, people.owner, environment=place.production)
        answer = app.get(of_all(place))
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert {one["key_id"]: one["secret"] for one in answer.json["secrets"]} == {
            one.pk: secret_of(one.current) for one in (key, second)
        }

    def test_one_row_lists_each_key(self, vendor, place, people, app, key):
        second = make_key(vendor, place, people.owner)
        app.get(of_all(place))
        (row,) = rows()
        told = json.loads(row.payload)["detail"]
        assert told["count"] == 2
        assert sorted(told["keys"]) == sorted(f"{one.pk}: version 1" for one in (key, second))

    def test_an_unchanged_set_releases_nothing(self, vendor, place, people, app, key):
        tag = app.get(of_all(place)).headers["ETag"]
        assert app.get(of_all(place), **{"If-None-Match": tag}).status == 304
        assert len(rows()) == 1
        make_key(vendor, place, people.owner)
        assert app.get(of_all(place), **{"If-None-Match": tag}).status == 200

    def test_another_place_is_refused_and_recorded(self, place, app, key):
        for path in (of_all(place, place.production), "applications/99/environments/99/secrets"):
            answer = app.get(path)
            assert (answer.status, answer.code) == (404, "not_found")
        assert [row.outcome for row in rows()] == ["denied", "denied"]

    def test_the_statements_do_not_grow_with_the_keys(self, vendor, place, people, app, key):
        def first_and_steady() -> tuple[int, int]:
            app.get(of_all(place))
            with counting() as steady:
                app.get(of_all(place))
            fetch.forget()
            with counting() as first:
                app.get(of_all(place))
            return len(first), len(steady)

        few = first_and_steady()
        for _ in range(4):
            make_key(vendor, place, people.owner)
        assert first_and_steady() == few == (5, 1)


def test_a_token_for_other_networks_fetches_nothing_and_the_refusal_is_recorded(people, place, key):
    bound = {
        "name": "bound",
        "application": place.application.pk,
        "environment": place.environment.pk,
    }
    owner = Api(people.owner)
    away = owner.post("tokens/", {**bound, "networks": ["192.0.2.0/24"]}).json
    assert away["token"]["networks"] == ["192.0.2.0/24"]
    assert Api(token=away["text"]).get(of_key(key)).status == 401
    assert rows(Action.TOKEN_REFUSED)[0].outcome == "denied"
    here = owner.post("tokens/", {**bound, "name": "here", "networks": ["127.0.0.0/8"]}).json
    assert Api(token=here["text"]).get(of_key(key)).status == 200
    refused = owner.post("tokens/", {**bound, "name": "odd", "networks": ["nowhere"]})
    assert (refused.status, refused.code) == (400, "bad_network")


def test_a_renewed_token_fetches_with_either_text_during_the_overlap(people, place, key, token):
    number = ServiceToken.objects.get().pk
    owner = Api(people.owner)
    renewed = owner.post(f"tokens/{number}/renew", {"overlap_seconds": 60})
    assert (renewed.status, renewed.headers["Cache-Control"]) == (201, "no-store")
    for text in (token, renewed.json["text"]):
        assert Api(token=text).get(of_key(key)).status == 200
    assert renewed.json["text"] not in owner.get(f"tokens/{number}/").text
    assert owner.get(f"tokens/{number}/").json["former_used_at"] is not None
    assert Api(people.viewer).post(f"tokens/{number}/renew", {}).status == 404
