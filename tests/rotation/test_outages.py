"""Parts that are away: a clear word, nothing half-written, and work that goes on by itself."""

import pytest
from django.test import override_settings

from keyvault.core.errors import Unavailable
from keyvault.models import ApiKey, KeyVersion
from keyvault.vault import secret_store
from rotation import queue
from rotation.engine import manual_keys
from rotation.models import Rotation, Step, WaitingFor
from tests.factories import make_key
from tests.keyvault.vault import inspector
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def vault(stack):
    """Return Vault, to be stopped at will; data is on disk and it is back for the next test."""
    yield stack.openbao
    if not stack.openbao.running():
        stack.openbao.start()
    secret_store.forget_login()


@pytest.fixture
def vault_away(vault, key):
    """Stop Vault once everything else stands."""
    vault.stop()
    secret_store.forget_login()


def test_nothing_is_created_while_vault_is_away(vault, vendor, place, people, key, vault_away):
    """B55, B16: a secret needs a home before it is made."""
    rotation = started(people.operator, key)
    for _ in range(2):
        step(rotation)
    assert rotation.waiting_for == WaitingFor.VAULT
    assert creates(vendor, place.vendor_api) == 0
    vault.start()
    secret_store.forget_login()
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_registering_while_vault_is_away_records_nothing(vendor, place, people, vault_away):
    with pytest.raises(Unavailable, match="No secret was lost"):
        make_key(vendor, place, people.owner)
    assert ApiKey.objects.count() == 1


def test_a_standby_is_not_half_written(vault, vendor, place, people):
    key = make_key(vendor, place, people.owner, manual=True)
    made = vendor.create_key(place.vendor_manual["id"])
    vault.stop()
    secret_store.forget_login()
    with pytest.raises(Unavailable):
        manual_keys.add_standby(people.operator, key, made["key"])
    vault.start()
    secret_store.forget_login()
    assert KeyVersion.objects.count() == 1
    manual_keys.add_standby(people.operator, key, made["key"])


def test_a_key_that_cannot_be_stored_does_not_stay_at_the_vendor(vault, vendor, place, people, key):
    """S4xF11: Vault dies between the create and the write; the orphan is found and deleted."""
    rotation = started(people.operator, key)
    vendor.fault("create", times=1, kind="delay", seconds=1.0)
    import threading

    stop = threading.Timer(0.6, vault.stop)
    stop.start()
    step(rotation)
    stop.join()
    assert rotation.waiting_for == WaitingFor.VAULT
    vault.start()
    secret_store.forget_login()
    drive(rotation, seconds=40)
    assert rotation.step == Step.DONE
    alive = [k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert len(alive) == 1
    assert_all_is_well(vendor, place)


def test_starting_works_while_the_broker_is_away(stack, vendor, place, people, key):
    """B84, B100: the row is the order; the next tick finds it."""
    stack.valkey.stop()
    try:
        rotation = started(people.operator, key)
        assert queue.due() == [rotation.pk]
    finally:
        stack.valkey.start()
    drive(rotation)
    assert rotation.step == Step.DONE
    queue.send("rotation.advance", rotation.pk)


@pytest.fixture
def cannot_store(stack, monkeypatch):
    """Log in under a policy that lets the probe through and refuses new secrets."""
    operator = inspector(stack.openbao)
    rules = "".join(
        f'path "keyvault/{path}" {{ capabilities = [{can}] }}\n'
        for path, can in (
            ("data/probe/+", '"create", "read"'),
            ("destroy/probe/+", '"update"'),
            ("metadata/probe/+", '"delete"'),
            ("data/accounts/+", '"read"'),
            ("data/keys/+", '"read"'),
        )
    )
    operator.sys.create_or_update_policy("narrow", rules)
    roles = operator.auth.approle
    roles.create_or_update_approle("narrow", token_policies=["narrow"])
    role_id = roles.read_role_id("narrow")["data"]["role_id"]
    monkeypatch.delenv("VAULT_SECRET_ID_FILE")
    secret_id = roles.generate_secret_id("narrow")["data"]["secret_id"]
    monkeypatch.setenv("VAULT_SECRET_ID", secret_id)
    with override_settings(VAULT_ROLE_ID=role_id):
        yield
    secret_store.forget_login()


def test_a_key_that_may_not_be_stored_is_taken_back(vendor, place, people, key, cannot_store):
    """S4xF13: Vault refuses the new secret; the key made for it does not live on, unknown."""
    rotation = started(people.operator, key)
    secret_store.forget_login()
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "Vault refuses access" in rotation.outcome
    assert creates(vendor, place.vendor_api) == 1
    alive = [k["id"] for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert alive == [key.current.vendor_id]


def test_a_key_that_can_neither_be_stored_nor_deleted_is_named(
    vendor, place, people, key, cannot_store
):
    """S4xF13, worst case: a person is told which key to delete."""
    vendor.fault("delete", times=None, kind="status", status=500, body={"success": False})
    rotation = started(people.operator, key)
    secret_store.forget_login()
    step(rotation)
    made = [k["id"] for k in vendor.keys(place.vendor_api["id"]) if k["label"].startswith("kv-")]
    for _ in range(2):
        assert rotation.waiting_for == WaitingFor.PERSON
        assert made[0] in rotation.waiting_text
        step(rotation)
    assert rotation.tasks.filter(kind="look", closed_at=None).exists()


def test_a_policy_that_forbids_the_path_ends_before_the_vendor_hears_of_it(
    stack, vendor, place, people, key
):
    """B16, B24: 403 is not 'away': a person must mend the policy, and the message says so."""
    role, secret_file = stack.openbao.credentials("web")[0], stack.openbao.secret_id_file("web")
    import os

    before = os.environ["VAULT_SECRET_ID_FILE"]
    os.environ["VAULT_SECRET_ID_FILE"] = str(secret_file)
    try:
        with override_settings(VAULT_ROLE_ID=role):
            secret_store.forget_login()
            rotation = drive(started(people.operator, key))
    finally:
        os.environ["VAULT_SECRET_ID_FILE"] = before
        secret_store.forget_login()
    assert rotation.step == Step.FAILED
    assert "Vault refuses access" in rotation.outcome
    assert creates(vendor, place.vendor_api) == 0
    assert Rotation.objects.get(pk=rotation.pk).finished_at


def test_starting_works_while_the_broker_is_full(stack, vendor, place, people, key):
    """B100: a broker that takes nothing more is no worse than one that is away."""
    import redis

    client = redis.Redis.from_url(stack.valkey.client_url)
    client.config_set("maxmemory", "1")
    try:
        rotation = started(people.operator, key)
        assert queue.due() == [rotation.pk]
    finally:
        client.config_set("maxmemory", "0")
    assert drive(rotation).step == Step.DONE
