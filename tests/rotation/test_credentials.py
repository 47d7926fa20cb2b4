"""U5, B112: a management credential is tried when it is given, and replaced without an outage."""

from typing import Any

import pytest
from django.test import Client

from keyvault.access import approvals
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied, Unavailable
from keyvault.inventory import accounts
from keyvault.models import VendorAccount
from keyvault.models.approvals import ApprovalAction
from keyvault.models.stored_secrets import OrphanedSecret
from keyvault.vault import secret_store
from rotation import orphaned_secrets
from rotation.engine import management_credentials, runner
from rotation.models import Step, WaitingFor
from rotation.recovery import deletion_lock, reconciliation
from tests import leakscan
from tests.api_client import Api, sign_in
from tests.factories import lone_key, make_key, make_member
from tests.keyvault.vault import acting_as
from tests.oracle import assert_current_is_accepted
from tests.rotation.driving import drive, started
from tests.rotation.test_leftovers import age


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def other(vendor, place):
    """Return another management credential of the same account at the vendor."""
    return vendor.create_key(place.vendor_api["id"], "manager", scopes=["keys:manage"])


def added(people, vendor, credential, **changes):
    said = {"name": "Another", "provider": "sandbox", "base_url": vendor.url}
    return accounts.add_account(
        people.owner, **{**said, "management_credential": credential, **changes}
    )


def credential_of(account):
    return secret_store.read("accounts", account.management_path)["credential"]


def test_a_credential_is_tried_when_an_account_is_added(vendor, place, people):
    """F5: a wrong one is said at once, and nothing is kept of it."""
    with pytest.raises(BadInput) as refused:
        added(people, vendor, "mgmt_wrong-credential-0123456789")
    assert refused.value.code == "refused_by_vendor"
    vendor.fault("list", kind="status", status=503, times=None, body={"success": False})
    with pytest.raises(Unavailable):
        added(people, vendor, place.vendor_manual["management_credential"])
    vendor.clear_faults()
    assert VendorAccount.objects.count() == 2
    assert not OrphanedSecret.objects.exists()
    account = added(people, vendor, place.vendor_manual["management_credential"])
    assert account.vendor_account == place.vendor_manual["id"]
    assert account.management_since is not None


def test_a_credential_is_replaced_under_running_rotations(
    stack, vendor, place, people, key, other, monkeypatch
):
    """U5, B112: web writes the new one, the worker destroys the old one; what is under way goes on."""
    second = lone_key(vendor, place, people.owner)
    rotations = [started(people.owner, one, overlap_seconds=3600) for one in (key, second)]
    drive(rotations[0], lambda r: r.waiting_for == WaitingFor.OVERLAP)
    old = place.api_account.management_path
    with acting_as(stack.openbao, "web", monkeypatch):
        management_credentials.replace_credential(
            people.owner, place.api_account, f" {other['key']}\n"
        )
    assert credential_of(place.api_account) == other["key"]
    vendor.patch_account(place.vendor_api["id"], management_credential="mgmt_withdrawn")
    for rotation in rotations:
        type(rotation).objects.filter(pk=rotation.pk).update(overlap_seconds=0)
        assert drive(rotation).step == Step.DONE
    with acting_as(stack.openbao, "worker", monkeypatch):
        age()
        assert orphaned_secrets.destroy_all() == 1
    with pytest.raises(secret_store.StoreMissing):
        secret_store.read("accounts", old)
    act = AuditEvent.objects.get(action="account.credential_replaced")
    assert act.object_id == str(place.api_account.pk)
    assert leakscan.hits(stack, [other["key"]]) == []


def test_a_rotation_that_waits_for_another_credential_goes_on_at_once(
    vendor, place, people, key, other
):
    """B112: the old one was withdrawn at the vendor first, after a leak."""
    rotation = started(people.owner, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    vendor.patch_account(place.vendor_api["id"], management_credential="mgmt_withdrawn")
    type(rotation).objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert "Replace the management credential" in rotation.waiting_text
    management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    for _ in range(20):
        runner.advance(rotation.pk)  # without hurrying it: the replacement made it due
        rotation.refresh_from_db()
        if rotation.waiting_for != WaitingFor.PERSON:
            break
    assert rotation.waiting_for != WaitingFor.PERSON
    assert drive(rotation).step == Step.DONE
    assert_current_is_accepted(vendor, place)


@pytest.mark.parametrize("named", [True, False])
def test_a_credential_of_another_account_is_refused(vendor, place, people, key, named):
    """F5, U5: by the vendor's word, or by its list, which lacks the keys on record."""
    if not named:
        for account in (place.vendor_api, place.vendor_manual):
            vendor.patch_account(account["id"], tells_account=False)
    old = place.api_account.management_path
    with pytest.raises(BadInput) as refused:
        management_credentials.replace_credential(
            people.owner, place.api_account, place.vendor_manual["management_credential"]
        )
    assert refused.value.code == "other_account"
    place.api_account.refresh_from_db()
    assert place.api_account.management_path == old
    assert not OrphanedSecret.objects.exists()


def test_what_is_refused_leaves_the_old_one_in_use(vendor, place, people, key, other):
    """U5: a wrong one, the same again, and one for a vendor that has no API."""
    for text, kind in (("mgmt_wrong-credential-0123456789", BadInput), ("", BadInput)):
        with pytest.raises(kind):
            management_credentials.replace_credential(people.owner, place.api_account, text)
    management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    with pytest.raises(Conflict):
        management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    with pytest.raises(BadInput):
        management_credentials.replace_credential(people.owner, place.manual_account, other["key"])
    with pytest.raises(Denied):
        management_credentials.replace_credential(people.operator, place.api_account, other["key"])


def test_two_at_once_leave_one_in_use_and_none_behind(vendor, place, people, key, other):
    """U5: the slower of two is told, and what it wrote is destroyed."""
    third = vendor.create_key(place.vendor_api["id"], "manager", scopes=["keys:manage"])
    stale = VendorAccount.objects.get(pk=place.api_account.pk)
    management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    with pytest.raises(Conflict):
        management_credentials.replace_credential(people.owner, stale, third["key"])
    assert credential_of(place.api_account) == other["key"]
    age()
    assert orphaned_secrets.destroy_all() == 2
    assert deletion_lock.noticed_reason() == ""


def test_a_rule_has_a_second_person_agree_to_exactly_this_one(vendor, place, people, key, other):
    """U5: like the account's address; the agreement is for one credential, once."""
    second = make_member("second@example.com")
    second.grants.create(role="owner")
    approvals.add_rule(people.owner, ApprovalAction.VENDOR)
    with pytest.raises(approvals.NeedsApproval):
        management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    asked = approvals.visible_approvals(second).get()
    assert "Replace the management credential" in asked.what
    assert other["key"] not in f"{asked.what}{asked.parameters}"
    approvals.decide(second, asked, granted=True)
    third = vendor.create_key(place.vendor_api["id"], "manager", scopes=["keys:manage"])
    with pytest.raises(approvals.NeedsApproval):
        management_credentials.replace_credential(people.owner, place.api_account, third["key"])
    management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    assert credential_of(VendorAccount.objects.get(pk=place.api_account.pk)) == other["key"]


def test_the_api_replaces_it_for_owners_who_proved_themselves(vendor, place, people, key, other):
    """U5, B112."""
    path, body = f"accounts/{place.api_account.pk}/credential", {"credential": other["key"]}
    assert Api(people.operator).post(path, body).status == 403
    assert Api(people.outsider).post(path, body).status == 404
    stale = Api()
    sign_in(stale.client, people.owner, proved=False)
    assert stale.post(path, body).code == "proof_required"
    done = Api(people.owner).post(path, body)
    assert (done.status, done.json["has_management_credential"]) == (200, True)
    assert done.json["vendor_account"] == place.vendor_api["id"]
    assert other["key"] not in done.text


def test_the_page_replaces_it(stack: Any, vendor, place, people, key, other):
    """U5: by a form of its own; nothing of what was sent is kept while its sender proves themselves."""
    page = f"/accounts/{place.api_account.pk}/"
    client = sign_in(Client(), people.owner, proved=False)
    answer = client.post(f"{page}credential", {"credential": other["key"]})
    assert answer["Location"] == f"/account/reauthenticate/?next={page.replace('/', '%2F')}"
    assert other["key"] not in str(dict(client.session.items()))
    client = sign_in(Client(), people.owner)
    assert "Replace the credential" in client.get(page).content.decode()
    wrong = client.post(f"{page}credential", {"credential": "mgmt_wrong-0123456789abcdef"})
    assert wrong.status_code == 400
    assert "refuses this management credential" in wrong.content.decode()
    done = client.post(f"{page}credential", {"credential": other["key"]}, follow=True)
    assert "The credential was replaced" in done.content.decode()
    assert place.vendor_api["id"] in done.content.decode()
    assert leakscan.hits(stack, [other["key"]]) == []


def test_the_comparison_names_no_credential_as_an_unknown_key(vendor, place, people, key, other):
    """F5: where the credential is a key of the list, nobody is told to delete it."""
    management_credentials.replace_credential(people.owner, place.api_account, other["key"])
    stranger = vendor.create_key(place.vendor_api["id"])
    found = [one.subject for one in reconciliation.reconcile().findings]
    assert [subject for subject in found if stranger["id"] in subject]
    assert not [subject for subject in found if other["id"] in subject]
