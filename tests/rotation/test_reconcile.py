"""Three ways compared: what does not add up is named, and nothing is concluded from half an answer."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from keyvault.inventory import versions
from keyvault.models import ApiKey, KeyVersion, VendorAccount
from keyvault.vault import secret_store
from rotation.engine import cleanup
from rotation.models import HumanTask, Intent, Rotation, Step
from rotation.recovery import deletion_lock, findings, reconciliation, restore
from tests.commands import call, manage
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step


@pytest.fixture(autouse=True)
def nothing_left_in_vault(people):
    """Remove what the tests before left behind: their rows are gone, their secrets are not."""
    for path in secret_store.list_paths("keys"):
        secret_store.destroy("keys", path)


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def found(report=None):
    report = report or reconciliation.reconcile()
    return sorted(finding.kind for finding in report.findings)


def open_findings():
    return HumanTask.objects.filter(kind=HumanTask.Kind.FINDING, closed_at=None)


def test_after_a_whole_rotation_everything_fits(vendor, place, people, key):
    drive(started(people.operator, key))
    report = reconciliation.reconcile()
    assert (report.findings, report.not_compared) == ([], [])
    assert report.counts["secrets"] == 1
    assert not open_findings().exists()


def test_a_rotation_under_way_is_no_finding(vendor, place, people, key):
    rotation = started(people.operator, key, overlap_seconds=3600)
    vendor.fault("create", times=1, kind="execute_then_cut")
    step(rotation)
    assert found() == []
    drive(rotation, lambda r: r.waiting_for == "overlap")
    assert found() == []


def test_an_unknown_key_at_the_vendor_is_named_and_left_alone(vendor, place, people, key):
    """B32: with its label and last use, so that a person can find out whose it is."""
    made = vendor.create_key(place.vendor_api["id"], label="someone's own")
    report = reconciliation.reconcile()
    (finding,) = report.findings
    assert finding.kind == findings.UNKNOWN_KEY
    for part in (made["id"], "someone's own", "no use known"):
        assert part in finding.what
    assert vendor.lookup(made["key"])["accepted_now"]
    task = open_findings().get()
    assert (task.account, made["id"] in task.text) == (place.api_account, True)
    reconciliation.reconcile()
    assert open_findings().count() == 1, "one task, however often it is seen"
    vendor.delete_key(made["id"])
    reconciliation.reconcile()
    task.refresh_from_db()
    assert "no longer finds it" in task.outcome


def test_a_live_key_that_the_vendor_lost_is_named_twice(vendor, place, people, key):
    for number in range(3):
        make_key(vendor, place, people.owner, name=f"other {number}")
    vendor.delete_key(key.current.vendor_id)
    assert found() == [findings.MISSING_AT_VENDOR, findings.REFUSED]


def test_a_key_we_hold_for_deleted_that_still_lives_is_named(vendor, place, people, key):
    old = key.current
    drive(started(people.operator, key))
    KeyVersion.objects.filter(pk=old.pk).update(
        vendor_id=vendor.create_key(place.vendor_api["id"])["id"]
    )
    assert found() == [findings.ALIVE_AFTER_DELETION]
    task = HumanTask.objects.get(kind="finding", closed_at=None)
    assert "delete it at the vendor again" in task.text
    HumanTask.objects.all().update(closed_at=timezone.now())
    KeyVersion.objects.filter(pk=old.pk).update(link="")
    assert found() == [findings.ALIVE_AFTER_DELETION]
    task = HumanTask.objects.get(kind="finding", closed_at=None)
    assert "Nothing proves that this id is the secret's" in task.text
    assert "delete it at the vendor again" not in task.text


def test_an_id_of_another_secret_is_named_before_a_rotation_needs_it(vendor, place, people, key):
    """X1: what the vendor shows beside the id is not this secret; masks hidden, nothing is said."""
    other = make_key(vendor, place, people.owner, name="other")
    ids = key.current.vendor_id, other.current.vendor_id
    assert found() == []
    for version, vendor_id in ((key.current, ids[1]), (other.current, ids[0])):
        KeyVersion.objects.filter(pk=version.pk).update(vendor_id=vendor_id)
    assert found() == [findings.ID_OF_ANOTHER] * 2
    task = HumanTask.objects.filter(kind="finding", key=key, closed_at=None).get()
    assert f"its id {ids[1]} is that of" in task.text
    assert "Correct the id on the key's page" in task.text
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)
    assert found() == []


def test_a_secret_without_a_row_names_its_key(vendor, place, people, key):
    data = {"secret": "s" * 40, "key": str(key.pk), "key_name": str(key)}
    path = uuid.uuid4()
    secret_store.write_once("keys", path, data)
    (finding,) = reconciliation.reconcile().findings
    assert finding.kind == findings.SECRET_WITHOUT_ROW
    assert str(key) in finding.what
    assert "s" * 40 not in finding.what
    assert secret_store.read("keys", path)["secret"] == "s" * 40, "and it stays"


def test_a_row_without_its_secret_is_named(vendor, place, people, key):
    other = make_key(vendor, place, people.owner)
    secret_store.destroy("keys", other.current.path)
    assert found() == [findings.ROW_WITHOUT_SECRET]
    assert str(other) in open_findings().get().text


def test_a_retired_secret_that_still_lies_in_vault_is_named(vendor, place, people, key):
    drive(started(people.operator, key))
    old = key.versions.get(number=1)
    KeyVersion.objects.filter(pk=old.pk).update(
        destroyed_at=None, retired_at=timezone.now() - timedelta(days=2)
    )
    assert found() == [findings.NOT_DESTROYED]


def test_a_key_whose_owner_left_is_named(vendor, place, people):
    from keyvault.inventory.keys import NewKey, register_key

    made = vendor.create_key(place.vendor_api["id"])
    new = NewKey(
        account=place.api_account,
        environment=place.environment,
        member=people.developer,
        name="her own",
        vendor_id=made["id"],
    )
    register_key(people.developer, new, made["key"])
    people.developer.is_active = False
    people.developer.save()
    assert found() == [findings.OWNER_LEFT]


EMPTY = {"success": True, "data": {"keys": [], "next_cursor": None}}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 200, "body": EMPTY},
        {"kind": "status", "status": 403, "body": {"success": False, "code": "FORBIDDEN"}},
        {"kind": "status", "status": 500, "body": "oops"},
        {"kind": "html"},
        {"kind": "cut"},
        {"kind": "truncated"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_nothing_is_concluded_from_an_empty_refused_or_broken_list(
    vendor, place, people, key, fault
):
    """B24: an answer that is not whole closes no task and names no key as missing."""
    stranger = vendor.create_key(place.vendor_api["id"], label="stranger")
    reconciliation.reconcile()
    vendor.fault("list", times=None, **fault)
    report = reconciliation.reconcile()
    assert not report.complete
    assert findings.MISSING_AT_VENDOR not in found(report)
    assert open_findings().filter(text__contains=stranger["id"]).exists()
    ran = call("reconcilekeys", "--json")
    assert (ran.code, ran.json["complete"]) == (3, False)


def test_nothing_is_concluded_while_vault_is_sealed_or_refuses(stack, vendor, place, people, key):
    stack.openbao.stop()
    secret_store.forget_login()
    try:
        report = reconciliation.reconcile()
        assert "Vault" in report.not_compared[0]
        assert report.findings == []
        assert call("reconcilekeys").code == 3
    finally:
        stack.openbao.start()
        secret_store.forget_login()


def test_a_vault_that_lists_none_of_ours_is_not_believed(vendor, place, people, key):
    secret_store.destroy("keys", key.current.path)
    report = reconciliation.reconcile()
    assert "not believed" in report.not_compared[0]


def test_no_verdict_is_no_refusal(vendor, place, people, key):
    vendor.fault("usage", times=None, kind="status", status=500, body="x")
    report = reconciliation.reconcile()
    assert not report.complete
    assert report.findings == []


def test_the_command_compares_one_account_and_says_what_to_do(stack, vendor, place, people, key):
    vendor.create_key(place.vendor_api["id"], label="stranger")
    ran = manage(stack, "reconcilekeys", "--account", "sandbox", kind="worker")
    assert (ran.code, "registerkey" in ran.out) == (1, True), ran
    ran = manage(stack, "reconcilekeys", "--account", "influtics", kind="worker")
    assert (ran.code, "Everything fits." in ran.out) == (0, True)


def forget_rotation(key, old):
    """Put the database back to before the rotation, as an older dump would; Vault has moved on."""
    Intent.objects.all().delete()
    Rotation.objects.all().delete()
    ApiKey.objects.update(current=None)
    KeyVersion.objects.exclude(pk=old.pk).delete()
    KeyVersion.objects.filter(pk=old.pk).update(
        state="current", retired_at=None, refused_at=None, destroyed_at=None
    )
    ApiKey.objects.update(current=old)


def test_what_an_older_database_forgot_is_adopted_by_a_person(vendor, place, people, key):
    """Hard case d: the database says that the old key is current; the vendor deleted it."""
    old = key.current
    drive(started(people.operator, key))
    newer = secret_of(ApiKey.objects.get().current)
    deletion_lock.roll_marker()
    forget_rotation(key, old)
    deletion_lock.lock_deletions("The test restored an older dump.")
    report = reconciliation.reconcile()
    kinds = found(report)
    assert findings.SECRET_WITHOUT_ROW in kinds
    assert findings.ROW_WITHOUT_SECRET in kinds
    (forgotten,) = [f for f in report.findings if f.kind == findings.SECRET_WITHOUT_ROW]
    assert call("reconcilekeys", "--adopt", forgotten.id, "--by", people.operator.email).code == 1
    ran = call("reconcilekeys", "--adopt", forgotten.id)
    assert ran.code == 0, ran
    key.refresh_from_db()
    assert secret_of(key.current) == newer
    assert key.current.source == "adopted"
    report = restore.unlock_deletions(people.owner, [], "restored the dump of yesterday")
    assert report.findings == []
    assert deletion_lock.noticed_reason() == ""
    assert drive(started(people.operator, key)).step == Step.DONE
    cleanup.sweep()
    assert_all_is_well(vendor, place)


def test_a_secret_is_adopted_only_when_the_key_needs_it(vendor, place, people, key):
    made = vendor.create_key(place.vendor_api["id"])
    data = {"secret": made["key"], "key": str(key.pk), "key_name": str(key)}
    secret_store.write_once("keys", uuid.uuid4(), data)
    report = reconciliation.reconcile()
    (finding,) = [f for f in report.findings if f.kind == findings.SECRET_WITHOUT_ROW]
    ran = call("reconcilekeys", "--adopt", finding.id)
    assert (ran.code, "is not refused" in ran.err) == (1, True)
    assert "No secret without a row" in call("reconcilekeys", "--adopt", "none").err


def test_thawing_needs_an_owner_a_reason_and_nothing_open(vendor, place, people, key):
    deletion_lock.roll_marker()
    deletion_lock.lock_deletions("The test says so.")
    vendor.create_key(place.vendor_api["id"], label="stranger")
    (finding,) = reconciliation.reconcile().findings
    because = ("--reason", "restored the dump of yesterday")
    assert call("reconcilekeys", "--thaw", *because, "--by", people.operator.email).code == 1
    assert call("reconcilekeys", "--thaw").code == 1
    assert finding.id in call("reconcilekeys", "--thaw", *because).err
    assert deletion_lock.noticed_reason()
    assert call("reconcilekeys", "--thaw", *because, "--accept", finding.id).code == 1
    assert deletion_lock.noticed_reason() == ""
    assert not open_findings().filter(about="freeze").exists()


def test_it_reads_each_list_once_however_many_keys_there_are(vendor, place, people):
    for number in range(6):
        make_key(vendor, place, people.owner, name=f"key {number}")
    vendor.clear_ledger()
    reconciliation.reconcile()
    routes = [entry["route"] for entry in vendor.ledger(account=place.vendor_api["id"])]
    assert routes.count("list") == 1
    assert routes.count("usage") == 6
    assert VendorAccount.objects.count() == 2
    assert versions.AREA == "keys"
