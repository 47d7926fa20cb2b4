"""The Celery tasks: ids in, nothing out, a few lines each."""

import uuid
from collections.abc import Callable
from datetime import timedelta

from celery import current_task, shared_task
from django.utils import timezone

from keyvault import copies, limits, sessions
from keyvault.audit.context import acting
from rotation import (
    campaigns,
    crosschecking,
    digest,
    forgetting,
    freeze_feeds,
    levels,
    messages,
    notices,
    offboarding,
    outbox,
    policies,
    reconciling,
    replanning,
    standbys,
    sweeping,
    watching,
    workflow,
)
from rotation.models import Heartbeat

_BATCHES_A_TICK = 4


@shared_task(name="rotation.tick")
def tick() -> None:
    """Start what is due, and nudge every rotation and delivery that can move."""
    Heartbeat.objects.update_or_create(name="tick", defaults={"at": timezone.now()})
    with acting(uuid.uuid4().hex, "worker"):
        offboarding.finish_leavers()
        campaigns.work()
        policies.start_due()
    for rotation_id in workflow.take_due():
        workflow.send("rotation.advance", rotation_id)
    for delivery_id in outbox.due():
        workflow.send("rotation.deliver", delivery_id)
    # What can wait comes last, so that its failure holds up nothing above.
    for carry_on in (levels.carry_on, replanning.carry_on):
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
        workflow.advance(rotation_id)


@shared_task(name="rotation.deliver")
def deliver(delivery_id: int) -> None:
    """Send one webhook."""
    with acting(uuid.uuid4().hex, "worker"):
        outbox.deliver(delivery_id)


@shared_task(name="rotation.sweep")
def sweep() -> None:
    """Look for strays, finish destroying retired secrets, read calendars, drop what is long over."""
    with acting(uuid.uuid4().hex, "worker"):
        sweeping.sweep()
        freeze_feeds.read_due()
        outbox.close_settled()
    forgetting.forget_told()
    sessions.sweep()
    limits.sweep()


@shared_task(name="rotation.tell")
def tell() -> None:
    """Tell people what is new, and send what waits to be sent."""
    notices.scan()
    digest.tell_all()
    for message_id in messages.due():
        workflow.send("rotation.message", message_id)
    standbys.ask()


@shared_task(name="rotation.message")
def message(message_id: int) -> None:
    """Send one message."""
    messages.deliver(message_id)


@shared_task(name="rotation.watch")
def watch() -> None:
    """Give new keys their policies, and ask vendors about the keys whose day has come."""
    for key_id in watching.claim_due():
        workflow.send("rotation.check", key_id)
    levels.settle_new()


@shared_task(name="rotation.check")
def check(key_id: int) -> None:
    """Ask the vendor about one current key."""
    with acting(uuid.uuid4().hex, "worker"):
        watching.check(key_id)


@shared_task(name="rotation.crosscheck")
def crosscheck() -> None:
    """Compare Vault's audit log with ours, where it can be read."""
    crosschecking.nightly()


@shared_task(name="rotation.reconcile", soft_time_limit=3500, time_limit=3600)
def reconcile() -> None:
    """Compare what the database, Vault and the vendors hold, and forget copies that are long gone."""
    with acting(uuid.uuid4().hex, "worker"):
        reconciling.reconcile()
    copies.forget()
