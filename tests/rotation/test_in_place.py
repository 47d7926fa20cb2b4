"""B66: a vendor whose one call for a new key ends the old one: asked first, called once, never undone."""

from datetime import time, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.models import KeyVersion
from rotation.consumers import registry, webhooks
from rotation.engine import lifecycle
from rotation.engine.lease import claim
from rotation.engine.manual_keys import add_standby, paste_for
from rotation.engine.steps import replace_in_place
from rotation.models import HumanTask, Intent, Reason, Rotation, Step, WaitingFor, WebhookDelivery
from rotation.recovery import deletion_lock
from rotation.scheduling.policies import Wish, set_policy
from tests.api_client import Api
from tests.commands import call
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.pages import text
from tests.rotation.driving import drive, started, step
from tests.rotation.test_crashes import let_the_lease_end, run_until_death

WHY = "Nobody watches videos at night."
REFUSED = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}


@pytest.fixture
def key(vendor, place, people):
    """Return a key in an account whose vendor replaces in place."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    return make_key(vendor, place, people.owner)


def let_pass(rotation, time):
    """Put what the rotation has waited for so far back in time: it goes by the database's clock."""
    rotation.intents.filter(unclear_since__isnull=False).update(
        unclear_since=F("unclear_since") - time
    )
    Rotation.objects.filter(pk=rotation.pk, proving_since__isnull=False).update(
        proving_since=F("proving_since") - time
    )
    Rotation.objects.filter(pk=rotation.pk).update(started_at=F("started_at") - time)
    WebhookDelivery.objects.filter(key=rotation.key).update(created_at=F("created_at") - time)


def agreed(people, key, **options):
    return started(people.owner, key, accept_outage=WHY, **options)


def calls(vendor, place):
    """Return how often the vendor was asked to replace a key."""
    return len(vendor.ledger(account=place.vendor_api["id"], route="rotate"))


def test_it_asks_a_person_before_the_old_key_dies(vendor, place, people, key):
    """The plan says that nothing can overlap; without a reason and the right nothing is called."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    task = HumanTask.objects.get(rotation=rotation, closed_at=None)
    assert task.kind == "confirm"
    assert "No overlap" in task.text
    with pytest.raises(BadInput):
        lifecycle.waive(people.owner, rotation, "ok")
    with pytest.raises(Denied):
        lifecycle.waive(people.developer, rotation, WHY)
    assert calls(vendor, place) == 0
    assert_all_is_well(vendor, place)
    lifecycle.waive(people.owner, rotation, WHY)
    drive(rotation)
    assert (rotation.step, rotation.last_error) == (Step.DONE, "")
    assert calls(vendor, place) == 1
    assert rotation.adopted_how == f"Waived by {people.owner}: {WHY}"
    assert_all_is_well(vendor, place)


def test_it_may_be_cancelled_while_it_asks(vendor, place, people, key):
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    lifecycle.cancel(people.operator, rotation)
    drive(rotation)
    assert rotation.step == Step.CANCELLED
    assert calls(vendor, place) == 0
    assert_all_is_well(vendor, place)


def test_a_cancel_that_comes_just_before_the_call_wins(vendor, place, people, key):
    rotation = agreed(people, key)
    held = claim(rotation.pk)
    lifecycle.cancel(people.operator, rotation)
    assert replace_in_place.replace(held).text == "Cancelled meanwhile."
    assert calls(vendor, place) == 0
    assert not rotation.intents.exists()


def test_consumers_are_told_before_and_after(vendor, place, people, key):
    """Applications are prepared first: the call waits until each was told, or for a minute."""
    registry.add_consumer(
        people.owner, "web-1", place.application, place.environment, webhook_url=vendor.url
    )
    rotation = agreed(people, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    (first,) = WebhookDelivery.objects.all()
    assert (first.event, first.version_id) == ("key.updating", rotation.old_version_id)
    assert webhooks.payload(first)["type"] == "key.updating"
    for _ in range(2):
        step(rotation)
    assert calls(vendor, place) == 0
    webhooks.deliver(first.pk)
    WebhookDelivery.objects.filter(pk=first.pk).update(state="sent", due_at=None)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert list(WebhookDelivery.objects.order_by("pk").values_list("event", flat=True)) == [
        "key.updating",
        "key.updated",
    ]


def test_a_consumer_that_cannot_be_told_holds_it_up_for_a_minute_only(vendor, place, people, key):
    registry.add_consumer(
        people.owner, "web-1", place.application, place.environment, webhook_url=vendor.url
    )
    rotation = agreed(people, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    let_pass(rotation, timedelta(seconds=61))
    drive(rotation)
    assert rotation.step == Step.DONE


@pytest.mark.parametrize("kind", ["execute_then_cut", "execute_then_status"])
def test_a_lost_answer_asks_for_a_key_by_hand_at_once(vendor, place, people, key, kind):
    """The task names the key; the dead key is not replaced again; a pasted one ends it all."""
    vendor.fault("rotate", kind=kind)
    rotation = agreed(people, key)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.PERSON
    (made,) = [k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    for task in HumanTask.objects.filter(rotation=rotation, closed_at=None):
        assert task.kind in ("look", "paste")
        assert "must be re-issued by hand" in task.text
        assert key.current.vendor_id in task.text
        assert made["id"] in task.text
    for _ in range(4):
        lifecycle.retry(people.operator, rotation)
        step(rotation)
    assert calls(vendor, place) == 1
    with pytest.raises(Conflict, match="no longer be cancelled"):
        lifecycle.cancel(people.operator, rotation)
    fresh = vendor.create_key(place.vendor_api["id"], label="by hand")
    paste_for(people.operator, rotation, fresh["key"])
    drive(rotation)
    assert rotation.step == Step.DONE
    assert secret_of(KeyVersion.objects.get(pk=rotation.new_version_id)) == fresh["key"]
    assert not HumanTask.objects.filter(rotation=rotation, closed_at=None).exists()
    finding = HumanTask.objects.get(kind="finding", closed_at=None)
    assert made["id"] in finding.text
    assert_all_is_well(vendor, place)


def test_a_call_that_was_not_carried_out_gives_up_and_keeps_the_key(vendor, place, people, key):
    """The old key still works when the vendor's time has passed: a later run may call again."""
    vendor.fault("rotate", kind="cut")
    rotation = agreed(people, key)
    step(rotation)
    assert "still works so far" in rotation.waiting_text
    let_pass(rotation, timedelta(minutes=2))
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "was not carried out" in rotation.outcome
    assert calls(vendor, place) == 1
    assert_all_is_well(vendor, place)
    drive(agreed(people, key))
    assert_all_is_well(vendor, place)


def test_a_clear_no_leaves_everything_as_it_was(vendor, place, people, key):
    body = {"success": False, "error": "Not on your plan", "code": "FORBIDDEN"}
    vendor.fault("rotate", kind="status", status=403, body=body)
    rotation = drive(agreed(people, key))
    assert rotation.step == Step.FAILED
    assert "Not on your plan" in rotation.outcome
    assert not Intent.objects.filter(rotation=rotation).exists()
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize(
    ("point", "lost"),
    [
        ("swap_intent.after", False),
        ("swap.after", True),
        ("swap_store.before", True),
        ("swap_store.after", False),
        ("record.before", False),
        ("record.after", False),
    ],
)
def test_a_worker_that_dies_never_has_the_call_made_twice(
    stack, vendor, place, people, key, point, lost
):
    """Adopted where the secret reached Vault, else a person is asked; one call at the vendor."""
    rotation = agreed(people, key)
    assert run_until_death(stack, rotation, point) == -9
    let_the_lease_end(rotation)
    rotation.refresh_from_db()
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON or not r.is_open)
    assert calls(vendor, place) == (point != "swap_intent.after")
    if lost:
        assert "must be re-issued by hand" in rotation.waiting_text
    elif point != "swap_intent.after":
        assert rotation.step == Step.DONE
        assert_all_is_well(vendor, place)


def test_a_new_key_that_is_refused_makes_place_for_one_by_hand(vendor, place, people, key):
    """There is no way back to the dead key: it is neither restored nor called for again."""
    rotation = agreed(people, key)
    drive(rotation, lambda r: r.new_version_id is not None)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    fault = {"kind": "status", "status": 401, "body": REFUSED, "times": None}
    vendor.fault("usage", key_id=made.vendor_id, **fault)
    let_pass(rotation, timedelta(minutes=2))
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert rotation.step == Step.GENERATE
    assert rotation.new_version_id is None
    fresh = vendor.create_key(place.vendor_api["id"], label="by hand")
    paste_for(people.operator, rotation, fresh["key"])
    drive(rotation)
    assert rotation.step == Step.DONE
    assert calls(vendor, place) == 1


def test_a_new_key_that_ends_too_soon_goes_out_with_an_alert(vendor, place, people, key):
    """The old key is dead, so applications get what works; people are told what is wrong with it."""
    set_policy(people.operator, key, Wish(30, time(3), "UTC", overlap_seconds=0, quiet_seconds=1))
    vendor.patch_account(place.vendor_api["id"], granted_expiry_days=7)
    rotation = drive(agreed(people, key))
    assert rotation.step == Step.DONE
    alert = HumanTask.objects.get(kind="finding", closed_at=None)
    assert "before the next planned rotation" in alert.text
    assert_all_is_well(vendor, place)


def test_a_refusal_after_the_switch_waits_for_a_person(vendor, place, people, key):
    """No roll-back to a key that is dead."""
    rotation = agreed(people, key)
    drive(rotation, lambda r: r.good_answers == 1)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    fault = {"kind": "status", "status": 401, "body": REFUSED, "times": None, "after": 1}
    vendor.fault("usage", key_id=made.vendor_id, **fault)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert rotation.step == Step.VERIFY
    key.refresh_from_db()
    assert key.current_id == made.pk


def test_the_database_allows_one_such_call_a_run(people, key):
    """Whatever a worker believes: each call kills the key that came before it."""
    rotation = started(people.operator, key)
    Intent.objects.create(rotation=rotation, kind="swap", label="1", fence=1)
    with pytest.raises(IntegrityError, match="intent_swap_once"), transaction.atomic():
        Intent.objects.create(rotation=rotation, kind="swap", label="2", fence=2)


def test_a_leak_needs_no_agreement(vendor, place, people, key):
    """A leaked key is to die at once; the person who says leak has said so."""
    rotation = started(people.operator, key, reason=Reason.LEAK)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert calls(vendor, place) == 1


def test_nothing_is_replaced_while_deleting_is_frozen(vendor, place, people, key):
    deletion_lock.roll_marker()
    deletion_lock.lock_deletions("A test froze it.")
    rotation = agreed(people, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE)
    assert calls(vendor, place) == 0


def test_a_standby_is_used_first_and_overlaps(vendor, place, people, key):
    """A key made by hand ahead of time needs no outage."""
    add_standby(people.owner, key, vendor.create_key(place.vendor_api["id"])["key"])
    old = secret_of(key.current)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.DELETE and r.waiting_for == WaitingFor.DELETION)
    assert vendor.lookup(old)["accepted_now"]
    assert calls(vendor, place) == 0


def test_an_agreement_where_keys_overlap_is_refused_before_anything_starts(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    with pytest.raises(BadInput, match="no outage to accept"):
        lifecycle.start(people.owner, key, accept_outage=WHY)
    assert not Rotation.objects.exists()


def test_page_api_and_command_say_it_and_take_the_reason(client, vendor, place, people, key):
    """The plan is seen before the start, and the reason goes on record whichever way it came."""
    client.force_login(people.owner)
    page = text(client.get(f"/keys/{key.pk}/"))
    assert "No overlap: Sandbox vendor, in place ends the old key" in page
    sent = {"reason": "manual", "accept_outage": WHY}
    assert client.post(f"/keys/{key.pk}/rotate", sent).status_code == 302
    drive(Rotation.objects.get())
    answer = Api(people.owner).post(f"keys/{key.pk}/rotate", {"accept_outage": WHY})
    assert answer.status == 201
    drive(Rotation.objects.first())
    ran = call("rotatekey", key.pk, "--by", people.owner.email, "--accept-outage", WHY)
    assert ran.code == 0
    drive(Rotation.objects.first())
    done = Rotation.objects.filter(step=Step.DONE, waiver_reason=WHY, waived_by=people.owner)
    assert done.count() == 3
    assert_all_is_well(vendor, place)


def test_the_rotations_page_asks_for_the_agreement(client, vendor, place, people, key):
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    client.force_login(people.owner)
    page = text(client.get(f"/rotations/{rotation.pk}/"))
    assert "Agree that applications are refused for a moment" in page
    client.post(f"/rotations/{rotation.pk}/waive", {"reason": WHY})
    drive(rotation)
    assert rotation.step == Step.DONE
