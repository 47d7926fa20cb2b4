"""Send what people are told: by mail, to a chat, or to a program. Postgres remembers; retries wait.

A message goes out once for one claim; its id stays the same, so that a receiver can tell a repeat.
A mail server or a chat that is away delays messages and nothing else.
"""

import json
from datetime import UTC, datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import connection
from django.template.loader import render_to_string
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from keyvault.core.errors import KeyServiceError
from keyvault.core.outbound_http import Posted, next_try, post
from keyvault.core.secret import Secret
from keyvault.vault import secret_store
from rotation.consumers.webhooks import WEBHOOKS
from rotation.models import NotificationChannel, NotificationDelivery
from rotation.notifications import apprise

LEASE_SECONDS = 120
TOTAL_SECONDS = 20.0
# A message that could not be sent for so long is given up: what it tells of stands in the console.
GIVE_UP_AFTER = timedelta(days=3)
_LONGEST_WAIT = 3600.0

# guard: one claim sends
_CLAIM = """
UPDATE rotation_message SET attempt = attempt + 1,
    claimed_until = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'waiting' AND due_at <= now()
    AND (claimed_until IS NULL OR claimed_until < now())
RETURNING attempt
"""


def due(limit: int = 200) -> list[int]:
    """Return the ids of the messages to be sent now."""
    waiting = NotificationDelivery.objects.filter(
        state=NotificationDelivery.State.WAITING, due_at__lte=timezone.now()
    )
    return list(waiting.order_by("due_at").values_list("pk", flat=True)[:limit])


def deliver(message_id: int) -> None:
    """Send one message if it is due and nobody else is sending it, and note what came of it."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [LEASE_SECONDS, message_id])
        row = cursor.fetchone()
    if row is None:
        return
    message = NotificationDelivery.objects.select_related("notice", "member", "hook").get(
        pk=message_id
    )
    # guard: nobody who left is written to
    if message.member is not None and not message.member.is_active:
        _settle(message, row[0], Posted(False, "This person has left.", final=True), dropped=True)
        return
    _settle(message, row[0], _by_hook(message) if message.hook else _by_mail(message))


def _by_mail(message: NotificationDelivery) -> Posted:
    notice = message.notice
    to = message.member.email if message.member else message.address
    facts = {"notice": notice, "url": settings.BASE_URL + notice.link, "base": settings.BASE_URL}
    mail = EmailMultiAlternatives(
        subject=f"[Keyvault] {notice.title}"[:200],
        body=render_to_string("emails/mail.txt", facts),
        from_email=settings.MAIL_FROM,
        to=[to],
        headers={
            "Message-ID": f"<{message.message_id}@keyvault>",
            "Auto-Submitted": "auto-generated",
        },
        connection=get_connection(timeout=10),
    )
    mail.attach_alternative(render_to_string("emails/mail.html", facts), "text/html")
    try:
        mail.send()
    except (SMTPException, OSError, ValueError) as error:
        return Posted(False, f"The mail server did not take it ({type(error).__name__}).")
    return Posted(True, "Handed to the mail server.")


def _by_hook(message: NotificationDelivery) -> Posted:
    hook, notice = message.hook, message.notice
    assert hook is not None
    try:
        kept = secret_store.read(WEBHOOKS, hook.path)
    except KeyServiceError as error:
        return Posted(False, error.message)
    url = Secret(kept["url"])
    link = settings.BASE_URL + notice.link
    if hook.kind == NotificationChannel.Kind.APPRISE:
        text = f"{notice.text}\n{link}"
        return apprise.send(url.reveal(), notice.title, text, urgent=notice.urgent)
    if hook.kind == NotificationChannel.Kind.CHAT:
        body = json.dumps({"text": f"*{_plain(notice.title)}*\n{_plain(notice.text)}\n{link}"})
        return post(url.reveal(), body, {"Content-Type": "application/json"}, TOTAL_SECONDS)
    said = {
        "type": f"notice.{notice.kind}",
        "timestamp": notice.created_at.isoformat(),
        "data": {
            "title": notice.title,
            "text": notice.text,
            "urgent": notice.urgent,
            "key_id": notice.key_id,
            "url": link,
        },
    }
    body, now = json.dumps(said, separators=(",", ":")), datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(message.message_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(kept["secret"]).sign(str(message.message_id), now, body),
    }
    return post(url.reveal(), body, headers, TOTAL_SECONDS)


def _plain(text: str) -> str:
    """Return the text with what a chat would take for a link, a mention or markup made harmless."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _settle(
    message: NotificationDelivery, attempt: int, result: Posted, *, dropped: bool = False
) -> None:
    now = timezone.now()
    changes: dict[str, object] = {"claimed_until": None, "last_error": result.text[:300]}
    if result.sent:
        changes |= {
            "state": NotificationDelivery.State.SENT,
            "sent_at": now,
            "due_at": None,
            "last_error": "",
        }
    elif dropped:
        changes |= {"state": NotificationDelivery.State.DROPPED, "due_at": None}
    elif result.final or now - message.notice.created_at > GIVE_UP_AFTER:
        changes |= {"state": NotificationDelivery.State.FAILED, "due_at": None}
    else:
        changes["due_at"] = now + next_try(attempt, result, 15.0, _LONGEST_WAIT)
    NotificationDelivery.objects.filter(
        pk=message.pk, attempt=attempt, state=NotificationDelivery.State.WAITING
    ).update(**changes)
