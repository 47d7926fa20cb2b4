"""Tell consumers by signed webhook that a key changed; no secret is ever inside.

The row stands in the same transaction as its cause; sending is retried with the same message id,
so a receiver can tell a repeat. Postgres remembers, a lost nudge costs seconds.
"""

import json
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from keyvault.audit.actors import Actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import KeyServiceError
from keyvault.core.failpoints import reached
from keyvault.core.outbound_http import Posted, next_try, post
from keyvault.core.secret import Secret
from keyvault.models import ApiKey, KeyVersion
from keyvault.vault import secret_store
from rotation.consumers.holders import consumers_of
from rotation.human_tasks import close_alert, open_alert
from rotation.models import Acknowledgement, Consumer, HumanTask, WebhookDelivery

WEBHOOKS = "webhooks"
LEASE_SECONDS = 60
_ABOUT = "webhook:"
_BATCH = 50
_ACTOR = system_actor("webhooks")
# A receiver that is away for a day misses nothing; then a person is told.
# guard: webhooks go on for a day
GIVE_UP_AFTER = timedelta(days=1)
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 3600.0
# In all: a receiver that drips its answer must not hold a worker until the task is cut off.
TOTAL_SECONDS = 20.0

_CLAIM = """
UPDATE rotation_delivery SET attempt = attempt + 1,
    claimed_until = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'waiting' AND due_at <= now()
    AND (claimed_until IS NULL OR claimed_until < now())
RETURNING attempt
"""


def enqueue(
    key: ApiKey,
    version: KeyVersion,
    event: str = "key.updated",
    *,
    only: list[int] | None = None,
) -> list[int]:
    """Add a delivery for each of the key's consumers with a webhook, in the caller's transaction.

    `only`: for these consumers, by their ids.
    """
    told = consumers_of(key).exclude(webhook_url="")
    if only is not None:
        told = told.filter(pk__in=only)
    rows = [
        WebhookDelivery(
            consumer=consumer, key=key, version=version, event=event, due_at=timezone.now()
        )
        for consumer in told
    ]
    # What was still to be told of an earlier version is overtaken by this.
    WebhookDelivery.objects.filter(
        key=key, state=WebhookDelivery.State.WAITING, consumer__in=[r.consumer for r in rows]
    ).update(
        state=WebhookDelivery.State.FAILED, last_error="Overtaken by a later version.", due_at=None
    )
    return [row.pk for row in WebhookDelivery.objects.bulk_create(rows)]


def due(limit: int = 200) -> list[int]:
    """Return the ids of deliveries to be sent now."""
    now = timezone.now()
    waiting = WebhookDelivery.objects.filter(state=WebhookDelivery.State.WAITING, due_at__lte=now)
    return list(waiting.order_by("due_at").values_list("pk", flat=True)[:limit])


def deliver(delivery_id: int, seconds: float = TOTAL_SECONDS) -> None:
    """Send one delivery if it is due and nobody else is sending it, and note what came of it.

    The call ends after `seconds` in all.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [LEASE_SECONDS, delivery_id])
        row = cursor.fetchone()
    if row is None:
        return
    delivery = WebhookDelivery.objects.select_related(
        "consumer__application", "consumer__environment", "key__account", "version"
    ).get(pk=delivery_id)
    reached("notify.before")
    result = _send(delivery, seconds)
    reached("notify.after")
    _settle(delivery, row[0], result)


def _send(delivery: WebhookDelivery, seconds: float) -> Posted:
    path = delivery.consumer.webhook_path
    if not delivery.consumer.active or path is None:
        return Posted(False, "The consumer has no webhook any more.", final=True)
    try:
        signer = Webhook(Secret(secret_store.read(WEBHOOKS, path)["secret"]).reveal())
    except KeyServiceError as error:
        return Posted(False, error.message)
    body = json.dumps(payload(delivery), separators=(",", ":"))
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(delivery.message_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign(str(delivery.message_id), now, body),
    }
    return post(delivery.consumer.webhook_url, body, headers, seconds)


def payload(delivery: WebhookDelivery) -> dict[str, object]:
    """Return the message: which key has which version now; the receiver fetches the secret."""
    return {
        "type": delivery.event,
        "timestamp": delivery.created_at.isoformat(),
        "key_id": delivery.key_id,
        "version": delivery.version.number,
    }


def _settle(delivery: WebhookDelivery, attempt: int, result: Posted) -> None:
    actor = system_actor(f"delivery {delivery.pk}")
    now = timezone.now()
    last = result.final or now - delivery.created_at > GIVE_UP_AFTER
    changes: dict[str, object] = {"claimed_until": None, "last_error": result.text[:300]}
    if result.sent:
        changes |= {"state": WebhookDelivery.State.SENT, "sent_at": now, "due_at": None}
    elif last:
        changes |= {"state": WebhookDelivery.State.FAILED, "due_at": None}
    else:
        # The last try comes when the day is over, however long the receiver asks us to wait.
        ends = delivery.created_at + GIVE_UP_AFTER + timedelta(seconds=1)
        again = now + next_try(attempt, result, _FIRST_PAUSE, _LONGEST_PAUSE)
        changes["due_at"] = min(again, max(ends, now))
    with transaction.atomic():
        mine = WebhookDelivery.objects.filter(
            pk=delivery.pk, attempt=attempt, state=WebhookDelivery.State.WAITING
        )
        if mine.update(**changes) and (result.sent or last):
            _record(actor, delivery, result)


def _record(actor: Actor, delivery: WebhookDelivery, result: Posted) -> None:
    record(
        Action.DELIVERY_SENT if result.sent else Action.DELIVERY_FAILED,
        actor,
        delivery,
        outcome="ok" if result.sent else "failed",
        reason=result.text,
        version=delivery.version.number,
    )
    _tell(actor, delivery, result)


def _about(delivery: WebhookDelivery) -> str:
    return f"{_ABOUT}{delivery.consumer_id}:{delivery.key_id}"


def _tell(actor: Actor, delivery: WebhookDelivery, result: Posted) -> None:
    """Open a task for what could not be told, and close it when a later message arrives."""
    if result.sent:
        close_alert(actor, HumanTask.Kind.FINDING, _about(delivery), "It was told since.")
    # guard: a person is told of a webhook that was given up
    elif delivery.consumer.active and delivery.consumer.webhook_path:
        text = (
            f"{delivery.consumer} could not be told of version {delivery.version.number}: "
            f"{result.text} Tried since {delivery.created_at:%Y-%m-%d %H:%M} UTC. Nothing is lost: it "
            "gets the key when it fetches. Look at its receiver and its webhook address."
        )
        open_alert(actor, HumanTask.Kind.FINDING, _about(delivery), text, key=delivery.key)


def close_settled() -> None:
    """Close what tells of consumers that are gone, or that have taken the key without being told."""
    still = HumanTask.objects.filter(
        kind=HumanTask.Kind.FINDING, closed_at=None, about__startswith=_ABOUT
    )
    for task in still[:_BATCH]:
        consumer_id, key_id = (int(one) for one in task.about.removeprefix(_ABOUT).split(":"))
        consumer = Consumer.objects.filter(pk=consumer_id, active=True).exclude(webhook_url="")
        moved = Acknowledgement.objects.filter(
            consumer=consumer_id, key=key_id, version=F("key__current")
        )
        if not consumer.exists() or moved.exists():
            outcome = "It holds the current version, or is told by webhook no more."
            close_alert(_ACTOR, HumanTask.Kind.FINDING, task.about, outcome)
