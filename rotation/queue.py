"""Which rotations are due, and the messages that ask a worker to advance them.

The table is the queue. A message carries an id and is a nudge; `tick` finds whatever a lost nudge
left behind.
"""

import logging
from datetime import timedelta

from celery import current_app
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError

from keyvault.models import ApiKey
from rotation.models import OPEN_STEPS, Rotation

log = logging.getLogger(__name__)

# A message that was lost is sent again after this; one that waits in a long queue is not doubled.
_NUDGE_AGAIN = timedelta(seconds=15)
_MOST_NUDGES = 500


def open_rotation(key: ApiKey) -> Rotation | None:
    """Return the key's open rotation, if there is one."""
    return Rotation.objects.filter(key=key, step__in=OPEN_STEPS).first()


def look_now(rotation: Rotation) -> None:
    """Make an open rotation due at once: an event, not a person, asks for it."""
    wake(rotation)
    nudge(rotation.pk)


def due(limit: int = _MOST_NUDGES) -> list[int]:
    """Return the ids of the rotations that can be moved now: what expires first, then longest due."""
    return list(_due().values_list("pk", flat=True)[:limit])


def take_due(limit: int = _MOST_NUDGES) -> list[int]:
    """Return the ids of due rotations for which no message is under way, and note that one is now.

    However long the workers were away or are behind, the queue holds each rotation a few times only.
    """
    # guard: messages do not pile up
    quiet = _due().exclude(nudged_at__gt=Now() - _NUDGE_AGAIN)
    with transaction.atomic():
        free = quiet.select_for_update(of=("self",), skip_locked=True)
        chosen = list(free.values_list("pk", flat=True)[:limit])
        Rotation.objects.filter(pk__in=chosen).update(nudged_at=Now())
    return chosen


def _due() -> QuerySet[Rotation]:
    free = Rotation.objects.filter(step__in=OPEN_STEPS, due_at__lte=Now()).exclude(
        claimed_until__gt=Now()
    )
    return free.order_by(F("old_version__expires_at").asc(nulls_last=True), "due_at")


def nudge(rotation_id: int) -> None:
    """Ask a worker to advance the rotation after the commit; a lost nudge is no loss."""
    transaction.on_commit(lambda: send("rotation.advance", rotation_id))


def send(task: str, row_id: int) -> None:
    """Publish a task that carries one id; when the broker is away, the next tick finds the row."""
    try:
        current_app.send_task(task, [row_id])
    except (BrokerAway, RedisError):
        log.warning("broker away: the next tick takes over", extra={"task_name": task})


def wake(rotation: Rotation) -> None:
    """Make an open rotation due in the caller's transaction; nothing for one that has ended."""
    Rotation.objects.filter(pk=rotation.pk, step__in=OPEN_STEPS).update(
        due_at=Now(), wake=F("wake") + 1
    )
