"""Whatever was given the old version holds it until it proved the new one, or a person says so."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from keyvault.audit.models import Action, AuditEvent
from keyvault.core.request_context import acting
from keyvault.delivery import fetch, instances, tokens
from keyvault.models import ServiceToken, TokenKeyVersion
from rotation.consumers import holders, registry
from rotation.consumers.adoption import judge
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Rotation, Step, WaitingFor
from tests.factories import make_key
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def manual(vendor, place, people):
    return make_key(vendor, place, people.owner, manual=True)


def add(people, place, name="web", **options):
    new = registry.add_consumer(people.owner, name, place.application, place.environment, **options)
    return new.token.reveal()


def issue(people, place, name="nightly batch", **options):
    made = tokens.issue(people.owner, name, place.application, place.environment, **options)
    return made[1].reveal()


def acknowledge(token, key, copy=""):
    held = fetch.fetch(token, key.pk, instance=copy)
    nonce, number = registry.nonce(token, key.pk)
    proof = registry.proof_of(held.secret, nonce, key.pk, number)
    registry.acknowledge(token, key.pk, number, nonce, proof, copy)


def published(by, key, vendor=None, place=None):
    """Return a rotation of which the new version is given out."""
    rotation = started(by, key)
    if vendor:
        drive(rotation, lambda r: r.waiting_for == WaitingFor.KEY)
        made = vendor.create_key(place.vendor_manual["id"], label="by hand")
        manual_keys.paste_for(by, rotation, made["key"])
    return drive(rotation, lambda r: r.verified_at is not None)


def last_use_was(rotation, ago):
    """Weigh the proofs as if the vendor had seen the last use so long ago, at our own check at the latest."""
    rotation.refresh_from_db()
    used = min(timezone.now() - ago, rotation.old_version.checked_at)
    return judge(rotation, used, vendor_tells=True)


def later(rotation, span):
    """Let it be as if the switch, all fetches and our own checks were so long ago."""
    old = rotation.old_version
    old.checked_at -= span
    old.save(update_fields=["checked_at"])
    if rotation.old_asked_at:
        asked = rotation.old_asked_at - span
        Rotation.objects.filter(pk=rotation.pk).update(old_asked_at=asked)
    Rotation.objects.filter(pk=rotation.pk).update(published_at=rotation.published_at - span)
    for row in TokenKeyVersion.objects.all():
        row.first_at, row.last_at = row.first_at - span, row.last_at - span
        row.save()
    rotation.refresh_from_db()


def test_one_of_two_copies_is_not_both(vendor, place, people, key):
    """B114: two fetchers of one token, of which one acknowledges."""
    token = add(people, place)
    for copy in ("a", "b"):
        fetch.fetch(token, key.pk, instance=copy)
    rotation = published(people.operator, key)
    acknowledge(token, key, "a")
    step(rotation)
    assert (rotation.step, rotation.waiting_for) == (Step.VERIFY, WaitingFor.ADOPTION)
    assert "web (1 of 2 copies" in rotation.waiting_text
    fetch.fetch(token, key.pk, instance="b")
    assert TokenKeyVersion.objects.get(instance="b").version == rotation.new_version, (
        "given from memory"
    )
    step(rotation)
    assert "1 of 2 copies" in rotation.waiting_text, "to fetch is not to use"
    acknowledge(token, key, "b")
    drive(rotation)
    assert rotation.adopted_how == "Every consumer proved that it holds the new key."
    assert_all_is_well(vendor, place)


def test_two_addresses_behind_one_token_are_two_copies(vendor, place, people, key):
    """B114: programs that send no id, as `docker compose up --scale app=2` runs them."""
    token = add(people, place)
    for source in ("10.0.0.1", "10.0.0.2"):
        with acting("r", source):
            fetch.fetch(token, key.pk)
    rotation = published(people.operator, key)
    with acting("r", "10.0.0.1"):
        acknowledge(token, key)
    step(rotation)
    assert "1 of 2 copies" in rotation.waiting_text


def test_a_copy_that_only_knows_the_new_version_is_not_waited_for(vendor, place, people, key):
    """A copy that starts after the switch was never given the old key."""
    token = add(people, place)
    fetch.fetch(token, key.pk, instance="a")
    rotation = published(people.operator, key)
    fetch.fetch(token, key.pk, instance="later")
    acknowledge(token, key, "a")
    (found,) = holders.of_rotation(rotation)
    assert (found.copies_moved, found.copies, found.moved) == (2, 2, True)
    assert drive(rotation).step == Step.DONE


@pytest.mark.parametrize("end", ["expired", "revoked"])
@pytest.mark.parametrize("kind", ["consumer", "token"])
def test_a_dead_token_takes_no_key_out_of_a_program(vendor, place, people, manual, kind, end):
    """F7: what fetched the old version is named with when it did, whatever became of its token."""
    good = add(people, place, "web")
    lost = add(people, place, "old job") if kind == "consumer" else issue(people, place, "old job")
    for token in (good, lost):
        fetch.fetch(token, manual.pk)
    row = ServiceToken.objects.get(name="old job")
    if end == "expired":
        ServiceToken.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    else:
        tokens.revoke(people.owner, row)
    rotation = published(people.operator, manual, vendor, place)
    acknowledge(good, manual)
    step(rotation)
    assert (rotation.step, rotation.waiting_for) == (Step.VERIFY, WaitingFor.ADOPTION)
    what = f"consumer with its token {end}" if kind == "consumer" else f"{end} service token"
    when = TokenKeyVersion.objects.get(token=row).last_at
    assert f"old job ({what}, last fetch {when:%Y-%m-%d %H:%M} UTC)" in rotation.waiting_text
    assert "web" not in rotation.waiting_text
    assert "a person must confirm" in rotation.waiting_text, "no word of its own can come"
    assert "old job" in HumanTask.objects.get(rotation=rotation, kind="confirm").text


def test_a_token_without_a_consumer_is_named_and_may_prove(vendor, place, people, manual):
    """F7: a plain service token holds the key as any consumer does."""
    web, batch = add(people, place), issue(people, place)
    for token in (web, batch):
        fetch.fetch(token, manual.pk)
    rotation = published(people.operator, manual, vendor, place)
    acknowledge(web, manual)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.ADOPTION
    assert "nightly batch (service token, last fetch" in rotation.waiting_text
    acknowledge(batch, manual)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    assert rotation.adopted_how == "Every consumer proved that it holds the new key."


def test_removing_a_consumer_takes_no_key_out_of_its_program(vendor, place, people, manual):
    """F7: its token ends, and who it was stays known."""
    token = add(people, place, "old place")
    fetch.fetch(token, manual.pk)
    registry.remove_consumer(people.owner, ServiceToken.objects.get().consumer)
    rotation = published(people.operator, manual, vendor, place)
    assert "old place (removed consumer, last fetch" in step(rotation).waiting_text


def test_the_task_to_delete_names_whoever_may_still_hold_the_key(vendor, place, people, manual):
    """F7: a person who deletes by hand sees before whom it may cut off, also after a waiver."""
    web, batch = add(people, place), issue(people, place)
    for token in (web, batch):
        fetch.fetch(token, manual.pk)
    rotation = published(people.operator, manual, vendor, place)
    acknowledge(web, manual)
    lifecycle.waive(people.operator, step(rotation), "the batch was switched off")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    task = HumanTask.objects.get(rotation=rotation, kind="delete", closed_at=None)
    assert "nightly batch (service token, last fetch" in task.text
    assert "web" not in task.text


def test_the_vendor_speaks_for_a_token_only_after_its_own_rhythm(place, people, key):
    """B118: a job that runs nightly is not overtaken by a quiet period of an hour."""
    token = issue(people, place)
    with time_machine.travel(timezone.now() - timedelta(days=3), tick=False) as clock:
        for _ in range(3):
            fetch.forget()
            fetch.fetch(token, key.pk)
            clock.shift(timedelta(days=1))
    rotation = published(people.operator, key)
    (job,) = holders.left(rotation)
    assert (job.every_seconds, job.on_record) == (86400, False)
    assert rotation.quiet_seconds == 86400, "where no policy says, never shorter than its pause"
    for hours in (1, 24, 47):
        later(rotation, timedelta(hours=hours))
        verdict = last_use_was(rotation, timedelta(hours=hours))
        assert (verdict.done, verdict.waiting_for) == (False, WaitingFor.QUIET)
        assert "nightly batch" in verdict.missing
        assert "2 days" in verdict.missing
        later(rotation, -timedelta(hours=hours))
    later(rotation, timedelta(hours=49))
    verdict = last_use_was(rotation, timedelta(hours=49))
    assert verdict.done
    assert "Without a word of its own: nightly batch (service token" in verdict.how


def test_what_fetched_once_may_well_run_each_night(place, people, key):
    """B118: one fetch is no rhythm; and what was away for long is waited for longer."""
    fetch.fetch(issue(people, place), key.pk)
    rotation = published(people.operator, key)
    for hours, done in ((2, False), (25, False), (27, True)):
        later(rotation, timedelta(hours=hours))
        assert last_use_was(rotation, timedelta(hours=hours)).done is done
        later(rotation, -timedelta(hours=hours))
    long_ago = timezone.now() - timedelta(days=3)
    TokenKeyVersion.objects.update(first_at=long_ago, last_at=long_ago)
    later(rotation, timedelta(days=5))
    assert not last_use_was(rotation, timedelta(days=5)).done
    later(rotation, timedelta(days=2))
    assert last_use_was(rotation, timedelta(days=7)).done


def test_a_copy_that_went_away_is_let_go_by_the_vendor_alone_and_never_before_another_proved(
    place, people, key
):
    """B114: the way out for copies that ended without a word, as each deploy leaves them."""
    token = add(people, place)
    for copy in ("a", "b"):
        fetch.fetch(token, key.pk, instance=copy)
    rotation = published(people.operator, key)
    later(rotation, timedelta(days=3))
    verdict = last_use_was(rotation, timedelta(days=3))
    assert not verdict.done, "a consumer that proved nothing is never outvoted"
    acknowledge(token, key, "a")
    assert "2 of" not in holders.names(holders.left(rotation))
    verdict = last_use_was(rotation, timedelta(days=3))
    assert verdict.done
    assert "web (1 of 2 copies, 1 not seen for long" in verdict.how
    rotation.refresh_from_db()
    silent = judge(rotation, None, vendor_tells=False)
    assert (silent.done, silent.waiting_for) == (False, WaitingFor.ADOPTION)
    assert "a person must confirm" in silent.missing
    TokenKeyVersion.objects.filter(instance="b").update(last_at=timezone.now())
    assert not last_use_was(rotation, timedelta(days=3)).done, "it came again: it is there"


def test_what_proved_before_copies_were_told_apart_need_not_do_it_again(place, people, key):
    """An upgrade in the middle of a rotation."""
    token = add(people, place)
    fetch.fetch(token, key.pk)
    rotation = published(people.operator, key)
    acknowledge(token, key)
    TokenKeyVersion.objects.update(
        proved=None, proved_at=None, former=rotation.old_version, instance=""
    )
    assert holders.left(rotation) == []


def test_only_what_holds_this_old_version_is_waited_for(vendor, place, people, key):
    """What fetched a version that is dead since, and nothing after it, has nothing to lose."""
    batch = issue(people, place)
    fetch.fetch(batch, key.pk)
    first = published(people.operator, key)
    lifecycle.waive(people.operator, first, "the batch was switched off")
    drive(first)
    key.refresh_from_db()
    second = published(people.operator, key)
    assert holders.left(second) == []
    assert [one.name for one in holders.of_key(key)] == []


def test_a_waiver_says_on_record_whom_it_outvoted(place, people, key):
    """F7: by name, since it is the one way past somebody who holds the key."""
    token = add(people, place)
    fetch.fetch(token, key.pk)
    rotation = published(people.operator, key)
    lifecycle.waive(people.operator, rotation, "it was switched off")
    row = AuditEvent.objects.get(action=Action.ADOPTION_WAIVED)
    assert '"web"' in row.payload


def test_copies_beyond_the_number_that_is_told_apart_are_waited_for(place, people, key):
    token = add(people, place)
    for number in range(instances.MOST + 3):
        fetch.fetch(token, key.pk, instance=f"copy-{number}")
    rotation = published(people.operator, key)
    for number in range(3, instances.MOST + 3):
        instances.prove(ServiceToken.objects.get(), key, rotation.new_version, f"copy-{number}")
    acknowledge(token, key, "copy-9")
    assert f"web ({instances.MOST} of {instances.MOST + 3} copies" in step(rotation).waiting_text
