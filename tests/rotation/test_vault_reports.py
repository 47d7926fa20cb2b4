"""Field reports about Vault: neighbours stay as they are, and a wrong namespace is named."""

import uuid

import pytest
from django.test import override_settings

from keyvault.inventory import keys
from keyvault.vault import secret_store
from rotation.models import Step
from tests.commands import manage
from tests.factories import make_key
from tests.keyvault.vault import inspector
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started

REFUSAL = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}


@pytest.fixture
def neighbours(stack):
    """Write secrets of others into the same mount, with fields and metadata; return a reader."""
    kv = inspector(stack.openbao).secrets.kv.v2
    paths = ("keys/notes-of-others", "others/database", f"keys/{uuid.uuid4()}")
    for path in paths:
        fields = {"api_key": "theirs", "webhook_secret": "w", "note": "written by others"}
        kv.create_or_update_secret(path, secret=fields, cas=0, mount_point="keyvault")
        kv.update_metadata(path, custom_metadata={"owner": "team"}, mount_point="keyvault")

    def read():
        return [
            (
                kv.read_secret_version(path, mount_point="keyvault", raise_on_deleted_version=True)[
                    "data"
                ],
                kv.read_secret_metadata(path, mount_point="keyvault")["data"],
            )
            for path in paths
        ]

    yield read
    for path in paths:
        kv.delete_metadata_and_all_versions(path, mount_point="keyvault")


def test_no_act_of_ours_touches_a_neighbour(neighbours, vendor, place, people):
    """B53: rotate, roll back, rename, probe: other paths, fields and metadata stay byte for byte."""
    before = neighbours()
    key = make_key(vendor, place, people.owner)
    assert drive(started(people.operator, key)).step == Step.DONE
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.new_version is not None)
    vendor.fault(
        "usage",
        times=None,
        kind="status",
        status=401,
        body=REFUSAL,
        key_id=rotation.new_version.vendor_id,
    )
    place.api_account.settings = {"propagation_seconds": 0.5}
    place.api_account.save()
    assert drive(rotation).step == Step.FAILED
    keys.change_key(people.owner, key, name="renamed", purpose="")
    secret_store.probe()
    assert neighbours() == before
    assert_all_is_well(vendor, place)


def test_our_roles_cannot_write_over_anything(stack, neighbours, vendor, place, people):
    """B53: a path that holds something is refused, not replaced, also where we may not read."""
    key = make_key(vendor, place, people.owner)
    with pytest.raises(secret_store.StoreConflict):
        secret_store.write_once("keys", key.current.path, {"secret": "other"})
    with pytest.raises(secret_store.StoreConflict):
        secret_store.write_once("keys", "notes-of-others", {"secret": "other"})


@pytest.mark.parametrize("namespace", ["wrong", "wrong/", "/wrong"])
def test_a_wrong_namespace_is_named_with_mount_and_policy(stack, vendor, place, people, namespace):
    """B98: the check writes and reads a test path, and its message names what to look at."""
    ran = manage(stack, "check", "--database", "default", kind="worker", VAULT_NAMESPACE=namespace)
    said = ran.out + ran.err
    assert "VAULT_NAMESPACE" in said
    assert "VAULT_MOUNT" in said
    assert ran.code == 0, "a warning: pages work without Vault"


def test_the_right_namespace_passes_the_check(stack):
    ran = manage(stack, "check", "--database", "default", kind="worker")
    assert (ran.code, "VAULT_NAMESPACE" in ran.out + ran.err) == (0, False)


def test_a_namespace_is_read_without_its_slashes(stack, people):
    with override_settings(VAULT_NAMESPACE=""):
        secret_store.forget_login()
        secret_store.probe()
