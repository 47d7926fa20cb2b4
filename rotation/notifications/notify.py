"""Create a notification, once for one cause, with a message for each person and channel.

Sending the messages is the part of delivery.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from keyvault.models import ApiKey, Member
from rotation.models import (
    HumanTask,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationPreference,
)
from rotation.notifications.quiet_hours import due_for


@dataclass(frozen=True)
class NewNotification:
    """What is to be told, before it is a row."""

    about: str
    kind: Notification.Kind
    title: str
    text: str
    link: str = ""
    urgent: bool = False
    key: ApiKey | None = None
    task: HumanTask | None = None


def notify(news: NewNotification, people: Iterable[Member], *, address: str = "") -> bool:
    """Make the notice and its messages in one transaction; False when it was told already."""
    everybody = {member.pk: member for member in people if member.is_active}
    try:
        with transaction.atomic():
            notice = Notification.objects.create(
                about=news.about[:200],
                kind=news.kind,
                title=news.title[:200],
                text=news.text[:4000],
                link=news.link,
                urgent=news.urgent,
                key=news.key,
                task=news.task,
            )
            NotificationDelivery.objects.bulk_create(_messages(notice, everybody.values(), address))
    except IntegrityError:
        return False
    return True


def _messages(
    notice: Notification, people: Iterable[Member], address: str
) -> list[NotificationDelivery]:
    now = timezone.now()
    people = list(people)
    chosen = {
        one.member_id: one for one in NotificationPreference.objects.filter(member__in=people)
    }
    made = [
        NotificationDelivery(
            notice=notice,
            channel="console",
            member=one,
            state=NotificationDelivery.State.SENT,
            sent_at=now,
        )
        for one in people
    ]
    if settings.EMAIL_HOST:
        for one in people:
            wish = chosen.get(one.pk) or NotificationPreference(member=one)
            if notice.urgent or (wish.mail and not wish.only_urgent):
                due = due_for(wish, now, urgent=notice.urgent)
                made.append(
                    NotificationDelivery(notice=notice, channel="mail", member=one, due_at=due)
                )
        if address and address.lower() not in {one.email for one in people}:
            made.append(
                NotificationDelivery(notice=notice, channel="mail", address=address, due_at=now)
            )
    made += [
        NotificationDelivery(notice=notice, channel="hook", hook=hook, due_at=now)
        for hook in _hooks(notice)
    ]
    return made


def _hooks(notice: Notification) -> QuerySet[NotificationChannel]:
    """Return the places that are told of this: those of its application, and those of everything."""
    application = notice.key.application_id if notice.key else None
    found = NotificationChannel.objects.filter(Q(application=None) | Q(application=application))
    return found if notice.urgent else found.filter(only_urgent=False)
