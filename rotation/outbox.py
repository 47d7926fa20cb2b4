"""Tell consumers by signed webhook that a key changed; no secret is ever inside.

The row stands in the same transaction as its cause; sending is retried with the same message id,
so a receiver can tell a repeat. Postgres remembers, a lost nudge costs seconds.
"""

import json
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from keyvault import secret_store
from keyvault.audit.log import Actor, record, system_actor
from keyvault.audit.models import Action
from keyvault.errors import KeyServiceError
from keyvault.models import ApiKey, KeyVersion
from keyvault.secret_text import Secret
from rotation.adoption import consumers_of
from rotation.crashpoints import reached
from rotation.models import Delivery
from rotation.posting import Posted, post

WEBHOOKS = "webhooks"
LEASE_SECONDS = 60
MOST_ATTEMPTS = 8
# In all: a receiver that drips its answer must not hold a worker until the task is cut off.
TOTAL_SECONDS = 20.0

_CLAIM = """
UPDATE rotation_delivery SET attempt = attempt + 1,
    claimed_until = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'waiting' AND due_at <= now()
    AND (claimed_until IS NULL OR claimed_until < now())
RETURNING attempt
"""


def enqueue(key: ApiKey, version: KeyVersion, event: str = "key.updated") -> list[int]:
    """Add a delivery for each of the key's consumers with a webhook, in the caller's transaction."""
    rows = [
        Delivery(consumer=consumer, key=key, version=version, event=event, due_at=timezone.now())
        for consumer in consumers_of(key).exclude(webhook_url="")
    ]
    # What was still to be told of an earlier version is overtaken by this.
    Delivery.objects.filter(
        key=key, state=Delivery.State.WAITING, consumer__in=[r.consumer for r in rows]
    ).update(state=Delivery.State.FAILED, last_error="Overtaken by a later version.", due_at=None)
    return [row.pk for row in Delivery.objects.bulk_create(rows)]


def due(limit: int = 200) -> list[int]:
    """Return the ids of deliveries to be sent now."""
    now = timezone.now()
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING, due_at__lte=now)
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
    delivery = Delivery.objects.select_related(
        "consumer__application", "consumer__environment", "key__account", "version"
    ).get(pk=delivery_id)
    reached("notify.before")
    result = _send(delivery, seconds)
    reached("notify.after")
    _settle(delivery, row[0], result)


def _send(delivery: Delivery, seconds: float) -> Posted:
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


def payload(delivery: Delivery) -> dict[str, object]:
    """Return the message: which key has which version now; the receiver fetches the secret."""
    return {
        "type": delivery.event,
        "timestamp": delivery.created_at.isoformat(),
        "key_id": delivery.key_id,
        "version": delivery.version.number,
    }


def _settle(delivery: Delivery, attempt: int, result: Posted) -> None:
    actor = system_actor(f"delivery {delivery.pk}")
    last = result.final or attempt >= MOST_ATTEMPTS
    changes: dict[str, object] = {"claimed_until": None, "last_error": result.text[:300]}
    if result.sent:
        changes |= {"state": Delivery.State.SENT, "sent_at": timezone.now(), "due_at": None}
    elif last:
        changes |= {"state": Delivery.State.FAILED, "due_at": None}
    else:
        changes["due_at"] = timezone.now() + timedelta(seconds=min(2.0**attempt, 300))
    with transaction.atomic():
        mine = Delivery.objects.filter(
            pk=delivery.pk, attempt=attempt, state=Delivery.State.WAITING
        )
        if mine.update(**changes) and (result.sent or last):
            _record(actor, delivery, result)


def _record(actor: Actor, delivery: Delivery, result: Posted) -> None:
    record(
        Action.DELIVERY_SENT if result.sent else Action.DELIVERY_FAILED,
        actor,
        delivery,
        outcome="ok" if result.sent else "failed",
        reason=result.text,
        version=delivery.version.number,
    )
