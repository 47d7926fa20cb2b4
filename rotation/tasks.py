"""The Celery tasks: ids in, nothing out, a few lines each."""

import uuid
from collections.abc import Callable
from datetime import timedelta

from celery import current_task, shared_task
from django.utils import timezone

from keyvault.access import rate_limits, sessions
from keyvault.core.request_context import acting
from keyvault.delivery import instances
from rotation import queue
from rotation.campaigns import offboarding, service
from rotation.consumers import webhooks
from rotation.engine import cleanup, runner, scheduler, standby_stock
from rotation.models import Heartbeat
from rotation.monitoring import key_checks, vault_reads
from rotation.notifications import delivery, digest, retention, triggers
from rotation.recovery import reconciliation
from rotation.scheduling import freeze_calendars, inheritance, replanner

_BATCHES_A_TICK = 4


@shared_task(name="rotation.tick")
def tick() -> None:
    """Start what is due, and nudge every rotation and delivery that can move."""
    Heartbeat.objects.update_or_create(name="tick", defaults={"at": timezone.now()})
    with acting(uuid.uuid4().hex, "worker"):
        # guard: leavers by other doors
        offboarding.finish_leavers()
        service.work()
        scheduler.start_due()
    for rotation_id in queue.take_due():
        queue.send("rotation.advance", rotation_id)
    for delivery_id in webhooks.due():
        queue.send("rotation.deliver", delivery_id)
    # What can wait comes last, so that its failure holds up nothing above.
    for carry_on in (inheritance.apply_next_scope, replanner.carry_on):
        _in_batches(carry_on)


def _in_batches(carry_on: Callable[[], bool]) -> None:
    """Do a few batches; what is more waits for the next tick and holds up no other task."""
    for _batch in range(_BATCHES_A_TICK):
        if not carry_on():
            break


@shared_task(name="rotation.pulse")
def pulse() -> None:
    """Note that this very worker takes work; every worker gets a copy of this task.

    A consumer can lose its broker and live on as a process, so only this counts as its life.
    """
    now, name = timezone.now(), f"worker:{current_task.request.hostname}"[:150]
    Heartbeat.objects.update_or_create(name=name, defaults={"at": now})
    gone = Heartbeat.objects.filter(name__startswith="worker:", at__lt=now - timedelta(days=1))
    gone.delete()


@shared_task(name="rotation.advance")
def advance(rotation_id: int) -> None:
    """Move one rotation as far as it goes now."""
    with acting(uuid.uuid4().hex, "worker"):
        runner.advance(rotation_id)


@shared_task(name="rotation.deliver")
def deliver(delivery_id: int) -> None:
    """Send one webhook."""
    with acting(uuid.uuid4().hex, "worker"):
        webhooks.deliver(delivery_id)


@shared_task(name="rotation.sweep")
def sweep() -> None:
    """Look for strays, finish destroying retired secrets, read calendars, drop what is long over."""
    with acting(uuid.uuid4().hex, "worker"):
        cleanup.sweep()
        freeze_calendars.read_due()
        webhooks.close_settled()
    retention.forget_told()
    sessions.sweep()
    rate_limits.sweep()


@shared_task(name="rotation.tell")
def tell() -> None:
    """Tell people what is new, and send what waits to be sent."""
    triggers.scan()
    digest.tell_all()
    for message_id in delivery.due():
        queue.send("rotation.message", message_id)
    standby_stock.ask()


@shared_task(name="rotation.message")
def message(message_id: int) -> None:
    """Send one message."""
    delivery.deliver(message_id)


@shared_task(name="rotation.watch")
def watch() -> None:
    """Give new keys their policies, and ask vendors about the keys whose day has come."""
    for key_id in key_checks.claim_due():
        queue.send("rotation.check", key_id)
    inheritance.recompute_new_keys()


@shared_task(name="rotation.check")
def check(key_id: int) -> None:
    """Ask the vendor about one current key."""
    with acting(uuid.uuid4().hex, "worker"):
        key_checks.check(key_id)


@shared_task(name="rotation.crosscheck")
def crosscheck() -> None:
    """Compare Vault's audit log with ours, where it can be read."""
    vault_reads.nightly()


@shared_task(name="rotation.reconcile", soft_time_limit=3500, time_limit=3600)
def reconcile() -> None:
    """Compare what the database, Vault and the vendors hold, and forget copies that are long gone."""
    with acting(uuid.uuid4().hex, "worker"):
        reconciliation.reconcile()
    instances.forget()
