"""Run one cell of the matrix, and judge it by its letter and by every invariant."""

import datetime
import os
import signal
from contextlib import nullcontext

from django.utils import timezone

from keyvault.delivery import fetch
from keyvault.models import KeyVersion
from rotation.consumers import webhooks
from rotation.engine import lifecycle, runner
from rotation.models import HumanTask, Rotation, Step, WaitingFor, WebhookDelivery
from rotation.recovery import deletion_lock, reconciliation, restore
from tests.factories import make_key
from tests.faults import injectors
from tests.faults.table import EFFECTS
from tests.faults.worker import Worker, held_at
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, everybody_moves, hurry, started

SERVER_ERROR = {"kind": "status", "status": 500, "body": {"success": False}}
TOO_MANY = {
    "kind": "status",
    "status": 429,
    "body": {"success": False, "code": "RATE_LIMITED"},
    "headers": {"Retry-After": "1"},
}
GATEWAY_404 = {"kind": "status", "status": 404, "body": "<html>404 page not found</html>"}
LIES = (
    {"last_use_shown": "null"},
    {"last_use_resolution": 86400},
    {"last_use_lag": 3600},
    {"last_use_behind": 3600},
)
HONEST = {
    "last_use_shown": "exact",
    "last_use_resolution": 0,
    "last_use_lag": 0,
    "last_use_behind": 0,
}
ROUTE = {"S3": "create", "S12": "delete"}


class World:
    """A place with one key, its consumer, and one rotation that is about to begin."""

    def __init__(self, stack, vendor, place, people, receiver, folder):
        from rotation.consumers import registry

        self.stack, self.vendor, self.place, self.people = stack, vendor, place, people
        self.receiver, self.folder = receiver, folder
        self.account = place.vendor_api["id"]
        self.key = make_key(vendor, place, people.owner)
        new = registry.add_consumer(
            people.owner, "web-1", place.application, place.environment, webhook_url=receiver.url
        )
        self.consumer, self.token = new.consumer, new.token
        self.rotation = started(people.operator, self.key)

    @property
    def old(self):
        return KeyVersion.objects.get(pk=self.rotation.old_version_id)

    def alive(self):
        return [k for k in self.vendor.keys(self.account) if k["accepted_now"]]

    def old_works(self):
        return any(k["id"] == self.old.vendor_id for k in self.alive())

    def let_the_lease_end(self):
        Rotation.objects.filter(pk=self.rotation.pk, claimed_until__isnull=False).update(
            claimed_until=timezone.now() - datetime.timedelta(seconds=1)
        )
        WebhookDelivery.objects.filter(claimed_until__isnull=False).update(
            claimed_until=timezone.now() - datetime.timedelta(seconds=1)
        )

    def finish(self, seconds=40):
        """Go on as a fresh worker would, webhooks included, until the end."""
        self.let_the_lease_end()
        drive(self.rotation, lambda r: self.goes_on() or not r.is_open, seconds=seconds)
        return drive(self.rotation, seconds=seconds)

    def goes_on(self):
        """Send what is to be sent; who is given the new key proves that it has it. Always False."""
        _delivered()
        everybody_moves(self.key.pk)
        return False


def _delivered():
    WebhookDelivery.objects.filter(state="waiting").update(due_at=timezone.now())
    for delivery_id in webhooks.due():
        webhooks.deliver(delivery_id, seconds=2.0)


def run(cell, world):
    """Bring the fault about at the cell's side effect, then judge."""
    _, before, after = EFFECTS[cell.effect]
    INJECT[cell.fault](cell, world, before, after)
    JUDGE[cell.letter](cell, world)
    replayed(world)


def killed(cell, world, before, after):
    point = before if cell.fault == "F1" else after
    status = Worker(world.stack, world.rotation.pk, point).wait()
    assert os.WTERMSIG(status) == signal.SIGKILL


def doubled(cell, world, before, after):
    with held_at(world.stack, world.rotation, before) as worker:
        for _ in range(3):
            hurry(world.rotation)
            runner.advance(world.rotation.pk)
            for delivery in WebhookDelivery.objects.all():
                webhooks.deliver(delivery.pk, seconds=1.0)
        worker.resume()


def frozen(cell, world, before, after):
    with held_at(world.stack, world.rotation, before if cell.effect != "S3" else after) as worker:
        world.finish()
        worker.resume()


def under(make, sign=None):
    """Return an injector that holds the worker before the effect while the fault begins."""

    def inject(cell, world, before, after):
        with held_at(world.stack, world.rotation, before) as worker:
            with make(cell, world):
                worker.resume(sign)
            during(cell, world)

    return inject


def during(cell, world):
    """Right after the fault: whatever came of it, consumers have a key that works."""
    injectors.wait_until_postgres_answers(world.stack)
    world.key.refresh_from_db()
    current = KeyVersion.objects.get(pk=world.key.current_id)
    assert any(k["id"] == current.vendor_id for k in world.alive())
    if cell.letter in ("P", "H", "C") and cell.effect not in ("S12", "S13", "S14"):
        assert world.old_works(), "nothing may be ended on a fault"


def vendor_fault(*faults, route=None):
    class Ordered:
        def __init__(self, cell, world):
            self.world = world
            self.route = route or ROUTE.get(cell.effect, "usage")

        def __enter__(self):
            for fault in faults:
                self.world.vendor.fault(self.route, **{"times": None, **fault})

        def __exit__(self, *_):
            self.world.vendor.clear_faults()

    return Ordered


def clock(cell, world, before, after):
    """Leases and due times are the database's: a worker whose clock is off ends nothing early."""
    hours = 1 if int(cell.effect[1:]) % 2 else -1
    shifted = injectors.an_hour_off(hours)
    worker = Worker(world.stack, world.rotation.pk, f"{before}:hold", shifted)
    try:
        assert worker.hold()
        assert os.WIFEXITED(worker.resume())
    finally:
        worker.close()
    during(cell, world)


def receiver_fails(cell, world, before, after):
    for status in (500, 302, 404):
        world.receiver.status = status
        drive(world.rotation, lambda r: r.step == Step.VERIFY)
        _delivered()
        assert WebhookDelivery.objects.get().state == "waiting"
    assert Rotation.objects.get(pk=world.rotation.pk).step != Step.DONE or world.old.refused_at
    world.receiver.status = 204
    _delivered()
    assert len({headers["webhook-id"] for headers, _ in world.receiver.got}) == 1


def old_key_in_use(cell, world, before, after):
    from tests.factories import secret_of

    Rotation.objects.update(quiet_seconds=2)
    drive(world.rotation, lambda r: r.step == Step.VERIFY and r.verified_at is not None)
    plain = secret_of(world.old)
    for _ in range(4):
        assert world.vendor.use(plain) == 200
        world.rotation.refresh_from_db()
        drive(world.rotation, lambda r: True)
        assert (world.rotation.step, world.old_works()) == (Step.VERIFY, True)


def _published_long_ago(world):
    """Bring the rotation to where only its consumers are waited for, with every period passed."""
    drive(world.rotation, lambda r: r.step == Step.VERIFY and r.verified_at is not None)
    Rotation.objects.filter(pk=world.rotation.pk).update(
        quiet_seconds=1, published_at=timezone.now() - datetime.timedelta(hours=1)
    )
    world.rotation.refresh_from_db()


def _goes_on_with_the_old_key(world, times=3):
    from tests.factories import secret_of

    plain = secret_of(world.old)
    for _ in range(times):
        assert world.vendor.use(plain) == 200
        drive(world.rotation, lambda r: True)
        assert (world.rotation.step, world.old_works()) == (Step.VERIFY, True)


def lies(cell, world, before, after):
    _published_long_ago(world)
    for lie in LIES:
        world.vendor.patch_account(world.account, **lie)
        _goes_on_with_the_old_key(world)
        world.vendor.patch_account(world.account, **HONEST)


def gateway_404(cell, world, before, after):
    if cell.effect != "S9":
        return under(vendor_fault({**GATEWAY_404, "times": 2}))(cell, world, before, after)
    _published_long_ago(world)
    with vendor_fault(GATEWAY_404, route="get")(cell, world):
        _goes_on_with_the_old_key(world)


def old_key_dies(cell, world, before, after):
    if cell.effect != "S9":
        with held_at(world.stack, world.rotation, before) as worker:
            world.vendor.delete_key(world.old.vendor_id)
            worker.resume()
        return
    _published_long_ago(world)
    world.vendor.delete_key(world.old.vendor_id)
    drive(world.rotation, lambda r: r.old_gone_at is not None)
    assert world.rotation.step == Step.VERIFY
    told = HumanTask.objects.get(rotation=world.rotation, kind=HumanTask.Kind.INCIDENT)
    assert "gone before we ended it" in told.text
    assert world.consumer.name in told.text


def wrong_id(cell, world, before, after):
    """Nothing shows of which secret an id is, so only a call by it tells; nobody's key may die."""
    other = world.vendor.create_key(world.account, label="another program's")
    right = world.old.vendor_id
    KeyVersion.objects.filter(pk=world.old.pk).update(vendor_id=other["id"], link="")
    drive(
        world.rotation,
        lambda r: world.goes_on() or r.waiting_for == WaitingFor.PERSON,
        seconds=40,
    )
    assert {other["id"], right} <= {k["id"] for k in world.alive()}
    assert world.vendor.use(other["key"]) == 200
    assert HumanTask.objects.filter(rotation=world.rotation, closed_at=None).exists()
    world.vendor.delete_key(other["id"])
    KeyVersion.objects.filter(pk=world.old.pk).update(vendor_id=right, link="")


def copy_holds_back(cell, world, before, after):
    """B114: two copies behind one token; the word of one is not that of the other."""
    copies = ("copy-1", "copy-2")
    for copy in copies:
        fetch.fetch(world.token.reveal(), world.key.pk, instance=copy)
    _published_long_ago(world)
    _moves(world, copies[0])
    _goes_on_with_the_old_key(world)
    assert "1 of 2" in world.rotation.waiting_text
    _moves(world, copies[1])


def _moves(world, copy):
    """Fetch the new key and prove it, as this copy of the program."""
    from rotation.consumers import registry

    text, key_id = world.token.reveal(), world.key.pk
    given = fetch.fetch(text, key_id, instance=copy)
    nonce, version = registry.nonce(text, key_id)
    proof = registry.proof_of(given.secret, nonce, key_id, version)
    registry.acknowledge(text, key_id, version, nonce, proof, copy)


def restored(cell, world, before, after):
    deletion_lock.roll_marker()
    file = injectors.dump(world.stack, world.folder)
    Worker(world.stack, world.rotation.pk, after).wait()
    Rotation.objects.filter(pk=world.rotation.pk).exists()
    deletion_lock.roll_marker()
    injectors.restore(world.stack, file)
    deletion_lock.forget()


def lagging(cell, world, before, after):
    if cell.effect == "S1":
        world.vendor.patch_account(world.account, key_limit=1)
        drive(world.rotation, lambda r: r.waiting_for == WaitingFor.PERSON, seconds=5)
        assert creates(world.vendor, world.place.vendor_api) == 0
        world.vendor.patch_account(world.account, key_limit=None)
    elif cell.effect == "S3":
        world.vendor.patch_account(world.account, list_lag=2)
        world.vendor.fault("create", times=1, kind="execute_then_cut")
    else:
        world.vendor.patch_account(world.account, stop_delay=2)


INJECT = {
    "F1": killed,
    "F2": killed,
    "F3": doubled,
    "F4": frozen,
    "F5": under(lambda cell, world: injectors.broker_gone(world.stack)),
    "F6": under(lambda cell, world: injectors.postgres_killed(world.stack)),
    "F7": under(vendor_fault({**TOO_MANY, "times": 1}, SERVER_ERROR)),
    "F8": under(vendor_fault({"kind": "execute_then_cut", "times": 1})),
    "F9": under(vendor_fault({"kind": "drip", "seconds": 30.0, "times": 1})),
    "F10": under(vendor_fault({"kind": "html", "times": 1}, {"kind": "success_false"})),
    "F11": under(lambda cell, world: injectors.vault_stopped(world.stack)),
    "F12": under(lambda cell, world: injectors.vault_frozen(world.stack)),
    "F13": under(lambda cell, world: injectors.vault_refuses(world.stack)),
    "F14": clock,
    "F15": receiver_fails,
    "F16": old_key_in_use,
    "F17": under(lambda cell, world: injectors.disk_full(world.stack)),
    "F18": restored,
    "F19": under(lambda cell, world: nullcontext(), signal.SIGTERM),
    "F20": lagging,
    "F21": lies,
    "F22": gateway_404,
    "F23": old_key_dies,
    "F24": wrong_id,
    "F25": copy_holds_back,
}


def ends_well(cell, world, most=1):
    end = world.finish()
    assert end.step == Step.DONE, end.waiting_text
    made = creates(world.vendor, world.place.vendor_api)
    assert made <= most, f"{made} keys were made"
    assert len(world.alive()) == 1
    world.key.refresh_from_db()
    assert world.key.current_id == end.new_version_id
    assert_all_is_well(world.vendor, world.place)


def looks_first(cell, world):
    ends_well(cell, world, most=2)


def told(cell, world):
    """A person has a task by the time that it was tried again; mended, it goes on by itself."""
    world.rotation.refresh_from_db()
    tasks = HumanTask.objects.filter(rotation=world.rotation)
    assert tasks.exists() or world.rotation.waiting_for == WaitingFor.PERSON, (
        world.rotation.waiting_text
    )
    if world.rotation.step in (Step.ROLL_BACK, Step.FAILED):
        assert world.finish().step == Step.FAILED
        assert_all_is_well(world.vendor, world.place)
        return
    looks_first(cell, world)


def _delete_strays(world):
    """Delete at the vendor what the comparison named as known to nobody, as its findings ask."""
    known = set(KeyVersion.objects.values_list("vendor_id", flat=True))
    for key in world.alive():
        if key["id"] not in known:
            world.vendor.delete_key(key["id"])


def thawed(cell, world):
    """Nothing is ended after the restore until people have settled what differs; then all is well."""
    drive(
        world.rotation,
        lambda r: world.goes_on() or r.waiting_for == WaitingFor.RECONCILE or not r.is_open,
        seconds=40,
    )
    assert world.rotation.waiting_for == WaitingFor.RECONCILE, world.rotation.waiting_text
    assert deletion_lock.noticed_reason()
    report = reconciliation.reconcile()
    restore.unlock_deletions(
        world.people.owner, [one.id for one in report.findings], "restored the dump"
    )
    drive(
        world.rotation,
        lambda r: world.goes_on() or r.waiting_for == WaitingFor.PERSON or not r.is_open,
        seconds=40,
    )
    if world.rotation.is_open:
        # Of an old key whose secret and proof are both gone only a list without strays tells.
        _delete_strays(world)
        lifecycle.retry(world.people.operator, world.rotation)
    assert world.finish().step == Step.DONE
    assert_all_is_well(world.vendor, world.place)


JUDGE = {
    "R": ends_well,
    "N": ends_well,
    "C": looks_first,
    "P": looks_first,
    "H": told,
    "W": ends_well,
    "F": thawed,
}


def replayed(world):
    """I9: any message again, at the end, changes nothing."""

    def rows():
        return (
            list(Rotation.objects.order_by("pk").values()),
            list(KeyVersion.objects.order_by("pk").values("pk", "state", "destroyed_at")),
            len(world.vendor.keys(world.account)),
        )

    before = rows()
    for rotation in Rotation.objects.all():
        runner.advance(rotation.pk)
    for delivery in WebhookDelivery.objects.all():
        webhooks.deliver(delivery.pk, seconds=1.0)
    assert rows() == before
