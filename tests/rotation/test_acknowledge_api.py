"""A consumer acknowledges over HTTP: a proof for this token, key and version, and nothing less."""

import json

import pytest

from keyvault.audit.models import Action, AuditEvent
from keyvault.delivery import tokens
from keyvault.delivery.instances import HEADER
from keyvault.models import TokenKeyVersion
from rotation.consumers import registry
from rotation.models import Acknowledgement, Step
from tests.api_client import Api, acknowledge, broken_audit, proof
from tests.factories import make_key, secret_of
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def app(people, place):
    made = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    return Api(token=made.token.reveal())


def test_a_consumer_proves_that_it_holds_the_secret(app, key):
    answer = acknowledge(app, key)
    assert (answer.status, answer.json) == (200, {"consumer": "web-1", "version": 1})
    assert answer.headers["Cache-Control"] == "no-store"
    assert Acknowledgement.objects.get().version_id == key.current_id


def test_acknowledging_twice_changes_nothing(app, key):
    first, rows = acknowledge(app, key), Acknowledgement.objects.values_list("at")
    before = list(rows)
    assert acknowledge(app, key).json == first.json
    assert list(rows) == before
    recorded = AuditEvent.objects.filter(action=Action.CONSUMER_ACKNOWLEDGED)
    assert recorded.count() == 1


def test_the_same_request_sent_again_changes_nothing(app, key):
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    secret = secret_of(key.current)
    body = {"version": 1, "nonce": nonce, "proof": proof(secret, nonce, key)}
    answers = [app.post(f"keys/{key.pk}/acknowledge", body) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert Acknowledgement.objects.count() == 1


def test_a_forged_proof_is_refused_and_recorded(app, key):
    answer = acknowledge(app, key, proof="0" * 64)
    assert (answer.status, answer.code) == (400, "wrong_proof")
    denied = AuditEvent.objects.get(action=Action.CONSUMER_ACKNOWLEDGED)
    assert denied.outcome == "denied"
    assert not Acknowledgement.objects.exists()


def test_a_proof_does_not_carry_over_to_another_version(vendor, people, app, key):
    """An acknowledgement of version 1, or one made with its secret, proves nothing for version 2."""
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    old = secret_of(key.current)
    replay = {"version": 1, "nonce": nonce, "proof": proof(old, nonce, key)}
    drive(started(people.operator, key), lambda rotation: rotation.step == Step.VERIFY)
    assert app.post(f"keys/{key.pk}/acknowledge", replay).status == 409
    assert app.post(f"keys/{key.pk}/acknowledge", {**replay, "version": 2}).code == "wrong_proof"
    assert acknowledge(app, key, 2, secret=old).code == "wrong_proof"
    assert not Acknowledgement.objects.exists()
    assert acknowledge(app, key, 2).status == 200


def test_a_proof_does_not_carry_over_to_another_token_or_key(vendor, place, people, app, key):
    second = make_key(vendor, place, people.owner)
    other = registry.add_consumer(people.owner, "web-2", place.application, place.environment)
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    body = {"version": 1, "nonce": nonce, "proof": proof(secret_of(key.current), nonce, key)}
    stolen = Api(token=other.token.reveal()).post(f"keys/{key.pk}/acknowledge", body)
    assert (stolen.status, stolen.code) == (400, "bad_input")
    assert app.post(f"keys/{second.pk}/acknowledge", body).status == 400
    assert not Acknowledgement.objects.exists()


def test_a_token_of_another_place_acknowledges_nothing(vendor, place, people, key):
    elsewhere = registry.add_consumer(people.owner, "p", place.application, place.production)
    api = Api(token=elsewhere.token.reveal())
    assert api.get(f"keys/{key.pk}/acknowledge").status == 404
    assert Api(people.owner).get(f"keys/{key.pk}/acknowledge").status == 401


def test_a_token_without_a_consumer_proves_what_it_holds_too(place, people, key):
    """F7: what counts as a holder must have a way to show that it moved."""
    plain = tokens.issue(people.owner, "batch", place.application, place.environment)[1]
    answer = acknowledge(Api(token=plain.reveal()), key)
    assert (answer.status, answer.json) == (200, {"consumer": "batch", "version": 1})
    assert TokenKeyVersion.objects.get().proved == key.current
    assert not Acknowledgement.objects.exists(), "it is no consumer for that"
    assert AuditEvent.objects.filter(action=Action.CONSUMER_ACKNOWLEDGED).count() == 1


def test_an_acknowledgement_speaks_for_the_copy_that_the_header_names(app, key):
    """B114: one of three that moved says nothing of the two others."""
    for copy in ("a", "b", "c"):
        app.get(f"keys/{key.pk}/secret", **{HEADER: copy})
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    body = {"version": 1, "nonce": nonce, "proof": proof(secret_of(key.current), nonce, key)}
    path = f"keys/{key.pk}/acknowledge"
    assert app.call("POST", path, body, **{HEADER: "no such thing"}).code == "bad_instance"
    assert not TokenKeyVersion.objects.exclude(proved=None).exists()
    assert app.call("POST", path, body, **{HEADER: "b"}).status == 200
    proved = TokenKeyVersion.objects.exclude(proved=None)
    assert [one.instance for one in proved] == ["b"]
    assert app.call("POST", path, body, **{HEADER: "b"}).status == 200
    said = AuditEvent.objects.filter(action=Action.CONSUMER_ACKNOWLEDGED)
    assert said.count() == 1, "said again, it changes nothing"
    assert json.loads(said.get().payload)["detail"] == {"version": 1, "copy": "b"}


def test_an_acknowledgement_of_another_shape_is_refused(app, key):
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    good = {"version": 1, "nonce": nonce, "proof": "0" * 64}
    wrong = [
        ({"version": "1"}, ["version"]),
        ({"version": True}, ["version"]),
        ({"version": 0}, ["version"]),
        ({"version": 2**31}, ["version"]),
        ({"nonce": ""}, ["nonce"]),
        ({"nonce": 1}, ["nonce"]),
        ({"nonce": "x" * 501}, ["nonce"]),
        ({"proof": None}, ["proof"]),
        ({"proof": "a\0"}, ["proof"]),
        ({"secret_too": "x"}, ["secret_too"]),
    ]
    for changes, fields in wrong:
        answer = app.post(f"keys/{key.pk}/acknowledge", {**good, **changes})
        assert (answer.status, answer.json["details"]["fields"]) == (400, fields)


def test_odd_proofs_and_bodies_are_refused(app, key):
    for odd in ("é" * 64, "Z" * 64, "\u2603"):
        assert acknowledge(app, key, proof=odd).code == "wrong_proof"
    for raw in (b"", b"[]", b"{", b'{"version": 1}', b'"' + b"a" * 300_000 + b'"'):
        assert app.call("POST", f"keys/{key.pk}/acknowledge", raw).status == 400


def test_no_acknowledgement_counts_that_cannot_be_recorded(app, key):
    secret = secret_of(key.current)
    with broken_audit():
        answer = acknowledge(app, key, secret=secret)
    assert (answer.status, answer.code) == (503, "audit_unavailable")
    assert not Acknowledgement.objects.exists()
