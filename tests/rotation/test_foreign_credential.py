"""F5: a management credential of another account at the vendor never makes a key that a program gets."""

import uuid

import pytest

from keyvault.core.errors import BadInput
from keyvault.core.hashing import fingerprint
from keyvault.core.secret import Secret
from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import KeyVersion, VendorAccount
from keyvault.vault import secret_store
from rotation.models import Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started


@pytest.fixture
def opaque(vendor, place):
    """Have the vendor name no account and show nothing of secrets."""
    for account in (place.vendor_api, place.vendor_manual):
        vendor.patch_account(account["id"], tells_account=False, shows_masks=False)


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def use_credential(account, credential, **changes):
    """Put a credential in place as an older release did: nothing is known of it."""
    path = uuid.uuid4()
    secret_store.write_once("accounts", path, {"credential": credential})
    blank = {"management_fingerprint": "", "vendor_account": ""}
    VendorAccount.objects.filter(pk=account.pk).update(management_path=path, **{**blank, **changes})
    account.refresh_from_db()


def foreign(vendor, place):
    """Give the account the credential of another one of the same plan."""
    use_credential(place.api_account, place.vendor_manual["management_credential"])


def test_a_foreign_credential_makes_nothing_where_the_vendor_names_accounts(
    vendor, place, people, key
):
    """F5: seen before the first call that would make a key."""
    foreign(vendor, place)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.FAILED
    assert place.vendor_manual["id"] in rotation.outcome
    assert "Replace the credential" in rotation.outcome
    assert creates(vendor, place.vendor_manual) == 0
    assert secret_of(key.current)
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("known_id", [True, False])
def test_a_foreign_credential_is_told_by_its_list_where_it_names_none(
    vendor, place, people, key, opaque, known_id
):
    """F5: the key that it made is of somebody else's account: it is ended again, and no program gets it."""
    KeyVersion.objects.update(vendor_account="")
    if not known_id:
        KeyVersion.objects.update(vendor_id="")
    foreign(vendor, place)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: not r.is_open or r.waiting_for == WaitingFor.PERSON)
    assert rotation.published_at is None
    key.refresh_from_db()
    assert key.current.number == 1
    if known_id:
        assert rotation.step == Step.FAILED
        assert "lacks the old key" in rotation.outcome
        assert not any(k["accepted_now"] for k in vendor.keys(place.vendor_manual["id"]))
        assert_all_is_well(vendor, place)
    else:
        assert "Nothing shows" in rotation.waiting_text


def test_an_opaque_vendor_is_believed_by_its_list(vendor, place, people, key, opaque):
    """F5: the right credential lists the old key: the rotation goes through without the vendor's word."""
    KeyVersion.objects.update(vendor_account="")
    use_credential(place.api_account, place.vendor_api["management_credential"])
    assert drive(started(people.operator, key)).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_an_old_key_without_an_id_is_found_by_its_mask(vendor, place, people, key, opaque):
    """F5: what the list shows of secrets tells as well."""
    KeyVersion.objects.update(vendor_account="", vendor_id="")
    vendor.patch_account(place.vendor_api["id"], shows_masks=True)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.published_at is not None)
    assert rotation.published_at is not None


def test_a_dead_old_key_is_compared_by_what_was_noted_while_it_lived(vendor, place, people, key):
    """F5: the old key was deleted by hand; its account is on record."""
    vendor.delete_key(key.current.vendor_id)
    foreign(vendor, place)
    rotation = drive(started(people.operator, key))
    assert (rotation.step, rotation.published_at) == (Step.FAILED, None)
    use_credential(place.api_account, place.vendor_api["management_credential"])
    assert drive(started(people.operator, key)).step == Step.DONE


def test_a_key_of_another_account_than_the_credentials_is_not_recorded(vendor, place, people):
    """F5: said at once: the account's credential would make its successors elsewhere."""
    credential = place.vendor_api["management_credential"]
    use_credential(
        place.api_account,
        credential,
        vendor_account=place.vendor_api["id"],
        management_fingerprint=fingerprint(Secret(credential)),
    )
    made = vendor.create_key(place.vendor_manual["id"])
    new = NewKey(place.api_account, place.environment, "stray", application=place.application)
    with pytest.raises(BadInput) as refused:
        register_key(people.owner, new, made["key"])
    assert refused.value.code == "other_account"
    assert place.vendor_manual["id"] in refused.value.message
    assert not KeyVersion.objects.exists()


def test_a_refused_credential_parks_until_another_is_given(vendor, place, people, key):
    """F5: it expired or was withdrawn: nothing fails, and it goes on with the new one."""
    use_credential(place.api_account, "mgmt_of_nobody", management_fingerprint="0" * 64)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert "management credential" in rotation.waiting_text
    use_credential(place.api_account, place.vendor_api["management_credential"])
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


@pytest.fixture
def manager(vendor, place, people):
    """Return a key on record that is the account's management credential itself."""
    made = vendor.create_key(place.vendor_api["id"], scopes=["keys:manage"])
    new = NewKey(
        place.api_account,
        place.environment,
        "manager",
        application=place.application,
        vendor_id=made["id"],
    )
    key = register_key(people.owner, new, made["key"]).version.key
    use_credential(place.api_account, made["key"])
    return key


def test_a_rotation_never_ends_the_credential_that_it_works_with(vendor, place, people, manager):
    """F5: known by its fingerprint; nothing is made or ended, and the text says what to do."""
    rotation = drive(started(people.operator, manager))
    assert rotation.step == Step.FAILED
    assert "is the management credential of Sandbox itself" in rotation.outcome
    assert vendor.lookup(secret_of(manager.current))["accepted_now"]
    assert creates(vendor, place.vendor_api) == 0
    use_credential(place.api_account, place.vendor_api["management_credential"])
    assert drive(started(people.operator, manager)).step == Step.DONE


def test_a_credential_given_while_its_key_is_rotated_is_not_ended(vendor, place, people, key):
    """F5: the old key becomes the management credential after the switch: it parks before the delete."""
    vendor.patch_key(key.current.vendor_id, scopes=["keys:manage"])
    secret = secret_of(key.current)
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    use_credential(place.api_account, secret, management_fingerprint=fingerprint(Secret(secret)))
    type(rotation).objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert "management credential" in rotation.waiting_text
    assert vendor.lookup(secret)["accepted_now"]
    called = {e["route"] for e in vendor.ledger(account=place.vendor_api["id"])}
    assert not called & {"disable", "delete"}


def test_another_version_of_the_credentials_id_is_not_ended_either(vendor, place, people, manager):
    """F5: known by the id at the vendor as well: two keys on record carry it."""
    other = make_key(vendor, place, people.owner)
    KeyVersion.objects.filter(pk=other.current_id).update(
        vendor_id=manager.current.vendor_id, link="answer"
    )
    VendorAccount.objects.update(management_fingerprint=manager.current.fingerprint)
    rotation = drive(started(people.operator, other))
    assert "is the management credential" in rotation.outcome
    assert vendor.lookup(secret_of(manager.current))["accepted_now"]
