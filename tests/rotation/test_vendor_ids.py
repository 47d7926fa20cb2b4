"""X1: a person corrects an id at the vendor that is not the secret's, or takes it away."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.models import ApiKey, KeyVersion, Link, Role
from rotation.engine import vendor_ids
from rotation.engine.lease import ClaimLost, claim
from rotation.engine.steps import id_proof
from rotation.models import HumanTask, Intent, Rotation, Step, WaitingFor
from tests.api_client import Api, new_key
from tests.commands import call
from tests.factories import grant, lone_key, make_key, make_member, secret_of
from tests.oracle import assert_all_is_well
from tests.pages import text
from tests.rotation.driving import drive, started, step
from tests.rotation.test_in_place import agreed as agreed_in_place
from tests.rotation.test_in_place import calls
from tests.rotation.test_irreversible import (  # noqa: F401 - fixtures
    accepted,
    agreed,
    enabled_again,
    has_id,
    is_disabled,
    pair,
    parked,
    quick,
    unmasked,
)


def true_id(vendor, version):
    return vendor.lookup(secret_of(version))["id"]


@pytest.mark.parametrize("masks", [True, False])
def test_it_goes_on_when_the_id_is_corrected(vendor, place, people, pair, quick, masks):  # noqa: F811
    """X1: both ids are put right, the refuted first taken away: each key then ends by its own id."""
    vendor.patch_account(place.vendor_api["id"], shows_masks=masks)
    first, second = pair
    old = first.current
    rotation = parked(agreed(people.owner, first))
    mine = true_id(vendor, old)
    with pytest.raises(Conflict, match="another key of this account"):
        vendor_ids.correct(people.owner, first, old.number, mine)
    vendor_ids.correct(people.owner, second, 1, "")
    changed = vendor_ids.correct(people.owner, first, old.number, f"  {mine}\n")
    assert (changed.vendor_id, changed.link, changed.link_text) == (mine, Link.UNPROVEN, "")
    drive(rotation)
    assert rotation.step == Step.DONE
    old.refresh_from_db()
    assert (old.state, old.link) == ("deleted", Link.REFUSAL)
    assert accepted(vendor, second)
    event = AuditEvent.objects.get(action="version.id_corrected", object_id=old.pk)
    assert mine in event.payload
    assert not HumanTask.objects.filter(rotation=rotation, closed_at=None).exists()
    assert_all_is_well(vendor, place)


def test_taken_away_a_person_ends_the_key(vendor, place, people, pair, quick):  # noqa: F811
    """X1: the intent is the person's then: nothing is called by program any more."""
    first, second = pair
    rotation = parked(agreed(people.owner, first))
    vendor.clear_ledger()
    vendor_ids.correct(people.owner, first, rotation.old_version.number, "")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    assert HumanTask.objects.filter(rotation=rotation, kind="delete", closed_at=None).exists()
    vendor.delete_key_by_secret(secret_of(rotation.old_version))
    drive(rotation)
    assert rotation.step == Step.DONE
    assert accepted(vendor, second)
    assert not [e for e in vendor.ledger() if e["route"] in ("disable", "enable")]


def test_corrected_to_another_wrong_id_no_key_stays_disabled(
    vendor,
    place,
    people,
    pair,  # noqa: F811
    quick,  # noqa: F811
    unmasked,  # noqa: F811
):
    """X1: the second wrong id is found out as the first was, and what it disabled is enabled."""
    first, _second = pair
    rotation = parked(agreed(people.owner, first))
    foreign = vendor.create_key(place.vendor_api["id"], label="somebody else's")
    vendor_ids.correct(people.owner, first, rotation.old_version.number, foreign["id"])
    drive(rotation, is_disabled)
    parked(rotation)
    assert foreign["id"] in rotation.waiting_text
    assert vendor.lookup(foreign["key"])["accepted_now"]
    assert enabled_again(vendor, place)


def test_it_is_refused_while_its_key_is_disabled_for_a_proof(
    vendor,
    place,
    people,
    pair,  # noqa: F811
    quick,  # noqa: F811
    unmasked,  # noqa: F811
):
    """X1: by the former id the key must be enabled again first."""
    first, second = pair
    rotation = drive(agreed(people.owner, first), is_disabled)
    with pytest.raises(Conflict, match="being called by this id just now"):
        vendor_ids.correct(people.owner, first, rotation.old_version.number, "")
    parked(rotation)
    assert accepted(vendor, second)
    vendor_ids.correct(people.owner, first, rotation.old_version.number, "")


def test_a_worker_with_the_former_id_in_hand_calls_nothing(
    vendor,
    place,
    people,
    pair,  # noqa: F811
    quick,  # noqa: F811
    unmasked,  # noqa: F811
):
    """X1: corrected between a worker's look and its call: the worker has lost its claim."""
    first, second = pair
    rotation = agreed(people.owner, first, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    Rotation.objects.filter(pk=rotation.pk).update(due_at="2020-01-01T00:00Z")
    held = claim(rotation.pk)
    version = held.rotation.old_version
    intent = Intent.objects.create(
        rotation=rotation, kind="delete", version=version, fence=1, vendor_id=version.vendor_id
    )
    vendor.clear_ledger()
    vendor_ids.correct(people.owner, first, version.number, "")
    with pytest.raises(ClaimLost), held.transaction():
        pass
    with pytest.raises(ClaimLost):
        id_proof._begin(held, version, intent)
    assert not [e for e in vendor.ledger() if e["route"] == "disable"]
    assert accepted(vendor, second)


def test_it_is_refused_after_the_call_in_place(vendor, place, people):
    """X1: the vendor may have ended the key of the id already."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)
    key = make_key(vendor, place, people.owner)
    vendor.fault("rotate", kind="cut")
    rotation = agreed_in_place(people, key)
    step(rotation)
    with pytest.raises(Conflict, match="being called by this id just now"):
        vendor_ids.correct(people.owner, key, 1, "")


def test_in_place_a_person_is_asked_anew_about_another_id(vendor, place, people):
    """X1: what was agreed to was the end of the key of the former id."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    key = make_key(vendor, place, people.owner)
    mine = key.current.vendor_id
    has_id(key, vendor.create_key(place.vendor_api["id"])["id"])
    rotation = parked(agreed_in_place(people, key))
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)
    vendor_ids.correct(people.owner, key, 1, mine)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON and "No overlap" in r.waiting_text)
    assert f"nothing proves that the id {mine}" in rotation.waiting_text
    assert rotation.waived_at is None
    assert calls(vendor, place) == 0


def test_what_is_refused_changes_nothing(vendor, place, people):
    """X1: no right, no such version, an odd id, a secret, the same, one that is used, one that is proven."""
    key, other = (lone_key(vendor, place, people.owner) for _ in range(2))
    was = key.current.vendor_id
    for who in (people.operator, people.developer, people.outsider):
        with pytest.raises(Denied):
            vendor_ids.correct(who, key, 1, "key_1")
    with pytest.raises(NotFound):
        vendor_ids.correct(people.owner, key, 7, "key_1")
    for odd in ("key\n1", "key\x00", "k" * 201, "key\u200b1"):
        with pytest.raises(BadInput):
            vendor_ids.correct(people.owner, key, 1, odd)
    for secret in (secret_of(key.current), secret_of(other.current)):
        with pytest.raises(BadInput) as refused:
            vendor_ids.correct(people.owner, key, 1, secret)
        assert secret not in refused.value.message
    with pytest.raises(Conflict, match="on record already"):
        vendor_ids.correct(people.owner, key, 1, was)
    with pytest.raises(Conflict, match="another key of this account") as used:
        vendor_ids.correct(people.owner, key, 1, other.current.vendor_id)
    assert str(other) in used.value.message
    drive(started(people.owner, key))
    with pytest.raises(Conflict, match="is over"):
        vendor_ids.correct(people.owner, key, 1, "key_1")
    with pytest.raises(Conflict, match="The vendor itself showed"):
        vendor_ids.correct(people.owner, key, 2, "key_1")
    assert not AuditEvent.objects.filter(action="version.id_corrected").exists()
    assert KeyVersion.objects.get(key=key, number=1).vendor_id == was


def test_page_and_api_correct_it(client, vendor, place, people):
    """X1: the parked rotation sends people to the key's page; the same by the API."""
    key, other = (lone_key(vendor, place, people.owner) for _ in range(2))
    client.force_login(people.owner)
    page = text(client.get(f"/keys/{key.pk}/"))
    assert "Id at the vendor" in page
    assert "not proven" in page
    posted = client.post(f"/keys/{key.pk}/vendor-id", {"id-number": 1, "id-vendor_id": "key_77"})
    assert posted.status_code == 302
    assert KeyVersion.objects.get(key=key).vendor_id == "key_77"
    assert "It is proven before" in text(client.get(f"/keys/{key.pk}/"))
    taken = {"id-number": 1, "id-vendor_id": other.current.vendor_id}
    answer = client.post(f"/keys/{key.pk}/vendor-id", taken)
    assert answer.status_code == 409
    assert "another key of this account" in text(answer)
    assert client.post(f"/keys/{key.pk}/vendor-id", {"id-number": "9"}).status_code == 400
    owner = Api(people.owner)
    path = f"keys/{key.pk}/versions/1/vendor-id"
    told = owner.call("PUT", path, {"vendor_id": "key_78"})
    assert (told.status, told.json["vendor_id"], told.json["link"]) == (200, "key_78", "")
    assert owner.call("PUT", path, {"vendor_id": other.current.vendor_id}).status == 409
    assert owner.call("PUT", path, {"vendor_id": ""}).json["vendor_id"] == ""
    assert owner.call("PUT", f"keys/{key.pk}/versions/9/vendor-id", {"vendor_id": ""}).status == 404
    assert Api(people.operator).call("PUT", path, {"vendor_id": "key_79"}).status in (403, 404)
    assert KeyVersion.objects.get(key=key).vendor_id == ""


def test_a_second_live_key_with_one_id_is_not_recorded(vendor, place, people):
    """X1: the page, the API, the command and the import refuse it; what is dead is in nobody's way."""
    key = make_key(vendor, place, people.owner)
    used = key.current.vendor_id
    made = vendor.create_key(place.vendor_api["id"])
    sent = new_key(place, made["key"], vendor_id=used)
    answer = Api(people.owner).post("keys/", sent)
    assert (answer.status, answer.code) == (409, "vendor_id_used")
    assert "one of the two is wrong" in answer.text
    rows = f"name,account,environment,application,secret,vendor_id\nfresh,{place.api_account},"
    rows += f"{place.environment},{place.application},{made['key']},{used}\n"
    for more in ((), ("--yes",)):
        ran = call("importkeys", "--by", people.owner.email, *more, stdin=rows.encode())
        assert "is on record for another key" in ran.out
    assert ApiKey.objects.count() == 1
    drive(started(people.owner, key))
    assert Api(people.owner).post("keys/", sent).status == 201


def test_of_two_keys_that_are_recorded_at_once_with_one_id_one_is(vendor, place, people):
    """X1: looked at again under a lock of the account, in the transaction that records it."""
    made = [vendor.create_key(place.vendor_api["id"]) for _ in range(4)]

    owners = [grant(make_member(f"owner{number}@example.com"), Role.OWNER) for number in range(4)]

    def one(number):
        sent = new_key(place, made[number]["key"], vendor_id="key_same", name=f"key {number}")
        try:
            return Api(owners[number]).post("keys/", sent).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(one, range(4)))
    assert statuses.count(201) == 1
    assert KeyVersion.objects.filter(vendor_id="key_same").count() == 1
