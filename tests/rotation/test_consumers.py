"""Consumers: fetch, acknowledge with a proof, and be waited for by name."""

import pytest

from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.core.secret import Secret
from keyvault.delivery import fetch
from keyvault.delivery.tokens import TokenRefused
from rotation.consumers import adoption, registry
from rotation.engine import lifecycle
from rotation.engine.steps.verify import TELL_A_PERSON_AFTER
from rotation.models import Acknowledgement, HumanTask, Rotation, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def add(people, place, name="web-1", **options):
    return registry.add_consumer(
        people.owner, name, place.application, place.environment, **options
    )


def acknowledge(new, key, secret=None, version=None):
    token = new.token.reveal()
    nonce, number = registry.nonce(token, key.pk)
    version = version or number
    held = Secret(secret) if secret else fetch.fetch(token, key.pk).secret
    proof = registry.proof_of(held, nonce, key.pk, version)
    return registry.acknowledge(token, key.pk, version, nonce, proof)


def test_a_rotation_waits_for_each_consumer_by_name(vendor, place, people, key):
    """B09, F16: the old key stays until the last consumer has proved that it moved."""
    first, second = add(people, place, "web-1"), add(people, place, "web-2")
    rotation = started(people.operator, key)
    rotation.quiet_seconds = 3600
    rotation.save(update_fields=["quiet_seconds"])
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    assert rotation.waiting_text == "Not yet on the new key: web-1, web-2."
    acknowledge(first, key)
    step(rotation)
    assert rotation.waiting_text == "Not yet on the new key: web-2."
    assert (rotation.step, rotation.adopted_at) == (Step.VERIFY, None)
    acknowledge(second, key)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_person_is_asked_by_name_about_what_does_not_move(vendor, place, people, key):
    """B118, F2: the vendor sees no use of the old key, and yet it lives until somebody says so."""
    add(people, place, "nightly job")
    old = secret_of(key.current)
    rotation = started(people.operator, key)
    rotation.quiet_seconds = 1
    rotation.save(update_fields=["quiet_seconds"])
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    long_ago = rotation.published_at - TELL_A_PERSON_AFTER
    Rotation.objects.filter(pk=rotation.pk).update(published_at=long_ago)
    step(rotation)
    assert (rotation.step, rotation.adopted_at) == (Step.VERIFY, None)
    task = HumanTask.objects.get(rotation=rotation, kind="confirm", closed_at=None)
    assert "nightly job" in task.text
    assert vendor.lookup(old)["accepted_now"]
    lifecycle.waive(people.operator, rotation, "the job was switched off")
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_proof_with_the_old_secret_is_refused_and_recorded(vendor, place, people, key):
    """TM-33: a consumer cannot claim a version that it does not hold."""
    consumer = add(people, place)
    old = secret_of(key.current)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.VERIFY)
    with pytest.raises(BadInput, match="does not hold"):
        acknowledge(consumer, key, secret=old)
    assert not Acknowledgement.objects.exists()


def test_an_old_version_cannot_be_acknowledged(vendor, place, people, key):
    consumer = add(people, place)
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    with pytest.raises(Conflict, match="not the current"):
        acknowledge(consumer, key, version=1)


def test_a_nonce_of_another_token_is_refused(vendor, place, people, key):
    first, second = add(people, place, "web-1"), add(people, place, "web-2")
    nonce, version = registry.nonce(first.token.reveal(), key.pk)
    proof = registry.proof_of(Secret(secret_of(key.current)), nonce, key.pk, version)
    with pytest.raises(BadInput, match="another token"):
        registry.acknowledge(second.token.reveal(), key.pk, version, nonce, proof)
    with pytest.raises(BadInput, match="not ours"):
        registry.acknowledge(first.token.reveal(), key.pk, version, "made:up:nonce", proof)


def test_acknowledging_twice_changes_nothing(vendor, place, people, key):
    consumer = add(people, place)
    assert acknowledge(consumer, key) == acknowledge(consumer, key) == "web-1"
    assert Acknowledgement.objects.count() == 1


def test_a_removed_consumer_is_not_waited_for(vendor, place, people, key):
    consumer = add(people, place)
    registry.remove_consumer(people.owner, consumer.consumer)
    assert adoption.not_moved(key, key.current) == []
    with pytest.raises(TokenRefused):
        registry.nonce(consumer.token.reveal(), key.pk)
    with pytest.raises(Conflict):
        registry.remove_consumer(people.owner, consumer.consumer)


def test_a_token_of_another_environment_reaches_nothing(vendor, place, people, key):
    elsewhere = registry.add_consumer(people.owner, "prod-1", place.application, place.production)
    with pytest.raises(NotFound):
        fetch.fetch(elsewhere.token.reveal(), key.pk)
    with pytest.raises(NotFound):
        registry.nonce(elsewhere.token.reveal(), key.pk)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com",
        "https://",
        "https://a:b@example.com/",
        "javascript:alert(1)",
        "https:///nohost",
    ],
)
def test_it_refuses_unsafe_webhook_addresses(people, place, url):
    with pytest.raises(BadInput):
        add(people, place, webhook_url=url)


def test_only_an_owner_adds_consumers(people, place):
    for member in (people.operator, people.viewer, people.developer, people.outsider):
        with pytest.raises((Denied, NotFound)):
            registry.add_consumer(member, "x", place.application, place.environment)
