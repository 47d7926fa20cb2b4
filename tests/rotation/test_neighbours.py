"""What others keep in the same place of Vault stays byte for byte as it is, whatever we do beside it."""

import uuid

import pytest
from hvac.exceptions import InvalidPath

from keyvault.inventory import keys
from keyvault.models import KeyVersion, VendorAccount, VersionState
from keyvault.vault import secret_store
from keyvault.vault.secret_store import StoreDenied
from rotation.engine.manual_keys import add_standby
from rotation.models import Step
from tests.factories import make_key, secret_of
from tests.keyvault.vault import acting_as, inspector
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started

MOUNT = "keyvault"
SHARED = {"api_key": "their own", "webhook_secret": "wh $x'\"#", "note": "line 1\nline 2 é"}
REFUSED = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}


@pytest.fixture
def kv(stack):
    """Return what sees and may do everything, beside the product."""
    return inspector(stack.openbao).secrets.kv.v2


def snapshot(kv, theirs):
    """Return what Vault holds of others and of ours: fields, versions and metadata of each path."""
    ours = [f"keys/{path}" for path in KeyVersion.objects.values_list("path", flat=True)]
    ours += [
        f"accounts/{path}"
        for path in VendorAccount.objects.values_list("management_path", flat=True)
    ]
    found = {}
    for path in [*theirs, *ours]:
        try:
            metadata = kv.read_secret_metadata(path, mount_point=MOUNT)["data"]
            answer = kv.read_secret_version(path, mount_point=MOUNT, raise_on_deleted_version=True)
        except InvalidPath:
            continue  # never written, or destroyed
        found[path] = (answer["data"], metadata)
    return found


@pytest.fixture
def neighbours(kv, vendor, place, people):
    """Write what others keep beside our paths and in their folders, with metadata of their own."""
    theirs = ["apps/billing", f"keys/{uuid.uuid4()}", "keys/named/by/them", "probe/theirs"]
    for path in theirs:
        for turn, fields in enumerate([{**SHARED, "note": "old"}, SHARED]):
            kv.create_or_update_secret(path, secret=fields, cas=turn, mount_point=MOUNT)
        kv.update_metadata(
            path, max_versions=7, custom_metadata={"team": "billing"}, mount_point=MOUNT
        )
    make_key(vendor, place, people.owner, name="another key of ours")
    yield theirs
    for path in theirs:
        kv.delete_metadata_and_all_versions(path, mount_point=MOUNT)


def fail_after_switch(vendor, rotation):
    drive(rotation, lambda r: r.good_answers == 1)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    refusal = {"kind": "status", "status": 401, "body": REFUSED, "times": None, "after": 1}
    vendor.fault("usage", key_id=made.vendor_id, **refusal)
    return drive(rotation)


def test_no_act_touches_what_others_keep_in_vault(stack, kv, vendor, place, people, neighbours):
    """B53: import, rename, rotation, roll-back, standby and probe; fields, versions and metadata."""
    key = make_key(vendor, place, people.owner, name="billing")
    before = snapshot(kv, neighbours)
    own = f"keys/{key.current.path}"
    assert own in before
    assert [before[path][0]["data"] for path in neighbours] == [SHARED] * 4
    assert any(path.startswith("accounts/") for path in before)

    def nothing_lost(*but):
        now = snapshot(kv, neighbours)
        for path, held in before.items():
            if path not in but:
                assert now[path] == held, path

    probes = kv.list_secrets("probe", mount_point=MOUNT)["data"]["keys"]
    secret_store.probe()
    assert kv.list_secrets("probe", mount_point=MOUNT)["data"]["keys"] == probes
    nothing_lost()
    keys.change_key(people.owner, key, name="apps/billing", purpose="as their path")
    nothing_lost()
    make_key(vendor, place, people.owner, name="imported")
    nothing_lost()
    made = vendor.create_key(place.vendor_api["id"])
    add_standby(people.owner, key, made["key"])
    nothing_lost()
    KeyVersion.objects.filter(state=VersionState.STANDBY).delete()
    vendor.delete_key(made["id"])
    secret = secret_of(key.current)
    assert fail_after_switch(vendor, started(people.operator, key)).step == Step.FAILED
    nothing_lost()
    vendor.clear_faults()
    key.refresh_from_db()
    assert secret_of(key.current) == secret
    assert drive(started(people.operator, key)).step == Step.DONE
    nothing_lost(own)
    assert_all_is_well(vendor, place)


def test_who_may_write_and_not_read_overwrites_nothing(stack, kv, people, monkeypatch):
    """B53: a web process may not read a vendor account's credential; it is refused, not replaced."""
    path = uuid.uuid4()
    kv.create_or_update_secret(f"accounts/{path}", secret=SHARED, cas=0, mount_point=MOUNT)
    with acting_as(stack.openbao, "web", monkeypatch), pytest.raises(StoreDenied):
        secret_store.write_once("accounts", path, {"credential": "another"})
    held = kv.read_secret_version(
        f"accounts/{path}", mount_point=MOUNT, raise_on_deleted_version=True
    )
    assert held["data"]["data"] == SHARED
    assert held["data"]["metadata"]["version"] == 1
