"""F4: Vault loses a secret that is in force: back to the old key at once, and every door leads somewhere."""

import pytest
from django.test import override_settings

from keyvault.delivery import fetch, tokens
from keyvault.models import KeyVersion, Link, VersionState
from keyvault.vault import secret_cache, secret_store
from keyvault.vault.secret_store import StoreMissing
from rotation import lost_secrets, queue
from rotation.consumers import registry
from rotation.engine import lifecycle, manual_keys, retirement, runner
from rotation.models import HumanTask, Notification, Reason, Rotation, Step, WaitingFor
from rotation.notifications import triggers
from tests.factories import make_key, secret_of
from tests.keyvault.vault import inspector
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step
from tests.rotation.test_foreign_credential import foreign


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def token(people, place):
    return tokens.issue(people.owner, "billing-1", place.application, place.environment)[1].reveal()


def overlapping(people, key, **options):
    """Return a rotation in its overlap of an hour."""
    options = {"overlap_seconds": 3600, **options}
    return drive(
        started(people.operator, key, **options),
        lambda r: r.step == Step.VERIFY and bool(r.verified_at),
    )


def lose(version):
    """Take the secret out of Vault, as by mistake or with an older backup."""
    secret_store.destroy("keys", version.path)
    secret_cache.forget()


def incident(key):
    return HumanTask.objects.get(kind="incident", key=key, about__startswith="lost-secret:")


def fetched(token, key):
    return fetch.fetch(token, key.pk).secret.reveal()


def test_a_fetch_that_finds_nothing_says_so_and_leads_back_at_once(
    vendor, place, people, key, token
):
    """F4: the fetch says what happens, wakes the rotation, and the next one gets the old key."""
    old = secret_of(key.current)
    assert fetched(token, key) == old
    rotation = overlapping(people, key)
    lose(rotation.new_version)
    assert rotation.due_at is not None
    with pytest.raises(StoreMissing) as caught:
        fetched(token, key)
    assert (caught.value.code, caught.value.status) == ("vault_missing", 503)
    assert "goes back to the former key by itself" in caught.value.message
    assert "A rotation replaces it" not in caught.value.message
    assert rotation.pk in queue.due()
    runner.advance(rotation.pk)
    assert fetched(token, key) == old
    rotation.refresh_from_db()
    assert rotation.step == Step.FAILED
    assert "lost" in incident(key).text
    assert key.current.tail not in incident(key).text
    assert_all_is_well(vendor, place)


def test_it_is_noticed_while_waiting_though_nobody_fetches(vendor, place, people, key):
    """F4: nothing was seen until the overlap had ended, hours later."""
    rotation = overlapping(people, key)
    lose(rotation.new_version)
    step(rotation)
    key.refresh_from_db()
    assert key.current == rotation.old_version
    triggers.scan()
    told = Notification.objects.get(task=incident(key))
    assert told.urgent
    assert "Applications get the former key again" in told.text


def test_a_wait_for_hours_is_looked_at_each_minute(people, place, vendor, key):
    registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    rotation = overlapping(people, key)
    Rotation.objects.filter(pk=rotation.pk).update(reason=Reason.MANUAL)
    lifecycle.waive(people.operator, rotation, "nothing else uses it")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    assert (rotation.due_at - rotation.waiting_since).total_seconds() < 70


@pytest.mark.parametrize("how", ["soft", "changed"])
def test_a_secret_deleted_or_changed_in_vault_is_lost_alike(stack, vendor, place, people, key, how):
    """F9: delete_version_after of the mount; and a value that somebody wrote over."""
    rotation = overlapping(people, key)
    kv, path = inspector(stack.openbao).secrets.kv.v2, f"keys/{rotation.new_version.path}"
    if how == "soft":
        kv.delete_latest_version_of_secret(path, mount_point="keyvault")
    else:
        kv.create_or_update_secret(path, {"secret": "x" * 40}, cas=1, mount_point="keyvault")
    secret_cache.forget()
    drive(rotation)
    key.refresh_from_db()
    assert (rotation.step, key.current) == (Step.FAILED, rotation.old_version)
    assert_all_is_well(vendor, place)


def test_the_lost_key_lives_until_whoever_fetched_it_is_back(vendor, place, people, key, token):
    """F4: a program that fetched the new key in time goes on with it until it has the old one again."""
    rotation = overlapping(people, key)
    held = fetched(token, key)
    lose(rotation.new_version)
    drive(rotation, lambda r: r.step == Step.ROLL_BACK and r.waiting_for == WaitingFor.ADOPTION)
    assert "billing-1" in rotation.waiting_text
    assert vendor.lookup(held)["accepted_now"]
    step(rotation)
    assert vendor.lookup(held)["accepted_now"], "the holder is not back yet"
    assert fetched(token, key) == secret_of(rotation.old_version)
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert not vendor.lookup(held)["accepted_now"]
    assert_all_is_well(vendor, place)


def test_a_secret_that_comes_back_to_vault_is_waited_for_alike(vendor, place, people, key, token):
    """F4: Vault was restored twice; whoever holds the new key needs it until they have the old one."""
    rotation = overlapping(people, key)
    held = fetched(token, key)
    data = secret_store.read("keys", rotation.new_version.path)
    lose(rotation.new_version)
    drive(rotation, lambda r: r.step == Step.ROLL_BACK and r.waiting_for == WaitingFor.ADOPTION)
    secret_store.write_once("keys", rotation.new_version.path, data)
    for _ in range(3):
        step(rotation)
    assert vendor.lookup(held)["accepted_now"]
    fetched(token, key)
    drive(rotation)
    assert not vendor.lookup(held)["accepted_now"]
    assert_all_is_well(vendor, place)


def test_every_door_leads_somewhere_while_holders_are_waited_for(vendor, place, people, key, token):
    """F4: rotate, cancel, retry, standby and the confirmation, in the state in which nothing led out."""
    rotation = overlapping(people, key)
    lifecycle.waive(people.operator, rotation, "about the old key only")
    fetched(token, key)
    lose(rotation.new_version)
    drive(rotation, lambda r: r.step == Step.ROLL_BACK and r.waiting_for == WaitingFor.ADOPTION)
    assert rotation.waived_at is None, "what was agreed about the old key is not about the new one"
    joined, new = lifecycle.start(people.operator, key)
    assert (joined, new) == (rotation, False)
    lifecycle.retry(people.operator, rotation)
    manual_keys.add_standby(
        people.operator, key, vendor.create_key(place.vendor_api["id"], label="spare")["key"]
    )
    lifecycle.waive(people.operator, rotation, "that copy was taken down")
    drive(rotation)
    assert rotation.step == Step.FAILED
    again = drive(started(people.operator, key))
    assert again.step == Step.DONE
    assert again.new_version.source == "pasted", "the standby was taken"
    lost_secrets.close_over()
    assert incident(key).closed_at is not None


def test_a_leak_while_the_new_secret_is_lost_goes_back_and_says_to_rotate_again(
    vendor, place, people, key, token
):
    """F4: the leak joined, and parked for ever."""
    rotation = overlapping(people, key)
    fetched(token, key)
    lose(rotation.new_version)
    lifecycle.start(people.operator, key, Reason.LEAK)
    drive(rotation)
    key.refresh_from_db()
    assert (rotation.step, key.current) == (Step.FAILED, rotation.old_version)
    assert "leaked" in incident(key).text
    again = drive(started(people.operator, key, reason=Reason.LEAK))
    assert again.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_lost_while_a_person_is_asked_to_delete_the_old_key(vendor, place, people):
    """F4 at a vendor without an API: nobody goes on being asked to delete the one key that works."""
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    key = make_key(vendor, place, people.owner, manual=True)
    rotation = drive(started(people.operator, key))
    text = vendor.create_key(place.vendor_manual["id"])["key"]
    manual_keys.paste_for(people.operator, rotation, text)
    drive(rotation, lambda r: r.step == Step.VERIFY and r.waiting_for == WaitingFor.ADOPTION)
    lifecycle.waive(people.operator, rotation, "the batch job was redeployed")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    lose(rotation.new_version)
    drive(rotation)
    key.refresh_from_db()
    assert (rotation.step, key.current) == (Step.FAILED, rotation.old_version)
    assert not HumanTask.objects.filter(kind="delete", closed_at=None).exists()
    lost = HumanTask.objects.get(about__startswith="lost:", closed_at=None)
    assert text[-4:] in lost.text
    assert "Delete it at" in lost.text
    rotation.new_version.refresh_from_db()
    assert rotation.new_version.state == VersionState.DISCARDED
    again = drive(started(people.operator, key))
    assert again.waiting_for == WaitingFor.KEY


@pytest.mark.parametrize("old", ["lost", "refused"])
def test_when_the_old_one_is_gone_too_another_rotation_can_bring_a_key(
    vendor, place, people, key, token, old
):
    """F4: the rotation ends, instead of standing in the way of the one that mends it."""
    rotation = overlapping(people, key)
    before = secret_of(rotation.old_version)
    lose(rotation.new_version)
    if old == "lost":
        lose(rotation.old_version)
    else:
        vendor.delete_key_by_secret(before)
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "applications have no key" in rotation.outcome
    with pytest.raises(StoreMissing, match="A rotation replaces it: people were told"):
        fetched(token, key)
    again = drive(started(people.operator, key))
    assert again.step == Step.DONE
    assert fetched(token, key) == secret_of(again.new_version)


def test_a_key_at_rest_whose_secret_is_lost_is_told_by_the_first_fetch(
    vendor, place, people, key, token
):
    """F4, the kind: no rotation is open; people are told once, however often programs ask."""
    lose(key.current)
    for _ in range(3):
        with pytest.raises(StoreMissing, match="people were told"):
            fetched(token, key)
    assert "Rotate it" in incident(key).text


def test_a_lost_current_secret_keeps_nobody_from_pasting_the_one_that_mends_it(
    vendor, place, people
):
    """F4, the kind: at a vendor without an API the paste was refused with 503."""
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    key = make_key(vendor, place, people.owner, manual=True)
    lose(key.current)
    rotation = drive(started(people.operator, key))
    manual_keys.paste_for(
        people.operator, rotation, vendor.create_key(place.vendor_manual["id"])["key"]
    )
    drive(rotation, lambda r: r.step == Step.VERIFY)
    key.refresh_from_db()
    assert key.current == rotation.new_version


def test_another_fingerprint_key_ends_nothing_and_goes_back_nowhere(people, key):
    """F4 with B112: every secret reads as changed then; that proves nothing about any of them."""
    rotation = overlapping(people, key)
    with override_settings(FINGERPRINT_KEY="another key that somebody deployed by mistake"):
        drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert rotation.step == Step.VERIFY
    step(rotation)
    assert rotation.waiting_for != WaitingFor.PERSON
    states = KeyVersion.objects.filter(key=key).values_list("state", flat=True)
    assert sorted(states) == ["current", "previous"]


def test_an_old_key_that_was_disabled_for_its_proof_is_enabled_again(vendor, place, people, key):
    """F4 with X1: lost while the old key's id is being proven at the vendor."""
    old = secret_of(key.current)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.intents.filter(disabling_at__isnull=False).exists())
    lose(rotation.new_version)
    drive(rotation)
    key.refresh_from_db()
    assert (rotation.step, key.current) == (Step.FAILED, rotation.old_version)
    assert vendor.use(old) == 200
    assert_all_is_well(vendor, place)


def unseen(people, key, begin):
    """Begin, agree to the end of a key whose secret Vault has lost, and return where that leads."""
    lose(key.current)
    rotation = begin()
    drive(rotation, lambda r: not r.is_open or r.step == Step.VERIFY)
    lifecycle.waive(people.owner, rotation, "I looked at every host.")
    return drive(rotation, lambda r: not r.is_open or r.waiting_for == WaitingFor.PERSON)


@pytest.mark.parametrize("all_on_record", [True, False])
def test_a_list_with_a_key_that_nobody_knows_shows_no_end(
    vendor, place, people, key, all_on_record
):
    """X1 with F4: the id is a person's word, so the unknown key may be the one whose secret is lost."""
    make_key(vendor, place, people.owner)
    if all_on_record:
        vendor.delete_key(key.current.vendor_id)
    else:
        KeyVersion.objects.filter(pk=key.current_id).update(vendor_id="key_of_nobody")
    rotation = unseen(people, key, lambda: started(people.operator, key))
    assert rotation.step == (Step.DONE if all_on_record else Step.DELETE)
    if not all_on_record:
        assert "nobody can see whether the vendor refuses it" in rotation.waiting_text


def test_an_empty_list_shows_no_end_of_a_key_that_is_retired(vendor, place, people, key):
    """F5 with F4: another account's credential is shown an empty list, and the key lives on."""
    secret = secret_of(key.current)
    foreign(vendor, place)
    rotation = unseen(people, key, lambda: retirement.retire(people.owner, key, "It is gone."))
    assert rotation.step == Step.DELETE
    assert "nobody can see whether the vendor refuses it" in rotation.waiting_text
    assert vendor.lookup(secret)["accepted_now"]


def test_no_list_shows_the_end_of_a_key_that_is_retired_by_a_word(vendor, place, people, key):
    """X1 with F4: its neighbours' ids may be a person's word too, and one of them be this key's."""
    make_key(vendor, place, people.owner)
    vendor.delete_key(key.current.vendor_id)
    rotation = unseen(people, key, lambda: retirement.retire(people.owner, key, "It is gone."))
    assert rotation.step == Step.DELETE
    assert "nobody can see whether the vendor refuses it" in rotation.waiting_text


@pytest.mark.parametrize("neighbour", [False, True])
def test_a_list_without_a_key_of_ours_shows_no_end_of_a_proven_id(
    vendor, place, people, key, neighbour
):
    """F5 with F4: that the id is right says nothing of whose list it is."""
    KeyVersion.objects.filter(pk=key.current_id).update(link=Link.ANSWER)
    key.refresh_from_db()
    if neighbour:
        make_key(vendor, place, people.owner)
        vendor.delete_key(key.current.vendor_id)
    else:
        foreign(vendor, place)
    rotation = unseen(people, key, lambda: retirement.retire(people.owner, key, "It is gone."))
    assert rotation.step == (Step.DONE if neighbour else Step.DELETE)
    if not neighbour:
        assert "nobody can see whether the vendor refuses it" in rotation.waiting_text
