"""Run one cell of the matrix, and judge it by its letter and by every invariant."""

import datetime
import os
import signal
from contextlib import nullcontext

from django.utils import timezone

from keyvault.models import KeyVersion
from rotation import freezing, outbox, reconciling, recovering
from rotation.models import Delivery, HumanTask, Rotation, Step, WaitingFor
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
ROUTE = {"S3": "create", "S12": "delete"}


class World:
    """A place with one key, its consumer, and one rotation that is about to begin."""

    def __init__(self, stack, vendor, place, people, receiver, folder):
        from rotation import consumers

        self.stack, self.vendor, self.place, self.people = stack, vendor, place, people
        self.receiver, self.folder = receiver, folder
        self.account = place.vendor_api["id"]
        self.key = make_key(vendor, place, people.owner)
        new = consumers.add_consumer(
            people.owner, "web-1", place.application, place.environment, webhook_url=receiver.url
        )
        self.consumer = new.consumer
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
        Delivery.objects.filter(claimed_until__isnull=False).update(
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
    Delivery.objects.filter(state="waiting").update(due_at=timezone.now())
    for delivery_id in outbox.due():
        outbox.deliver(delivery_id, seconds=2.0)


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
    from rotation import workflow

    with held_at(world.stack, world.rotation, before) as worker:
        for _ in range(3):
            hurry(world.rotation)
            workflow.advance(world.rotation.pk)
            for delivery in Delivery.objects.all():
                outbox.deliver(delivery.pk, seconds=1.0)
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
        assert Delivery.objects.get().state == "waiting"
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


def restored(cell, world, before, after):
    freezing.roll()
    file = injectors.dump(world.stack, world.folder)
    Worker(world.stack, world.rotation.pk, after).wait()
    Rotation.objects.filter(pk=world.rotation.pk).exists()
    freezing.roll()
    injectors.restore(world.stack, file)
    freezing.forget()


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


def thawed(cell, world):
    """Nothing is ended after the restore until people have settled what differs; then all is well."""
    drive(
        world.rotation,
        lambda r: world.goes_on() or r.waiting_for == WaitingFor.RECONCILE or not r.is_open,
        seconds=40,
    )
    assert world.rotation.waiting_for == WaitingFor.RECONCILE, world.rotation.waiting_text
    assert freezing.known()
    report = reconciling.reconcile()
    recovering.thaw(world.people.owner, [one.id for one in report.findings], "restored the dump")
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
    from rotation import workflow

    def rows():
        return (
            list(Rotation.objects.order_by("pk").values()),
            list(KeyVersion.objects.order_by("pk").values("pk", "state", "destroyed_at")),
            len(world.vendor.keys(world.account)),
        )

    before = rows()
    for rotation in Rotation.objects.all():
        workflow.advance(rotation.pk)
    for delivery in Delivery.objects.all():
        outbox.deliver(delivery.pk, seconds=1.0)
    assert rows() == before
