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
from rotation.models import Hook, HumanTask, Message, Notice, Preference
from rotation.notifications.quiet_hours import due_for


@dataclass(frozen=True)
class News:
    """What is to be told, before it is a row."""

    about: str
    kind: Notice.Kind
    title: str
    text: str
    link: str = ""
    urgent: bool = False
    key: ApiKey | None = None
    task: HumanTask | None = None


def tell(news: News, people: Iterable[Member], *, address: str = "") -> bool:
    """Make the notice and its messages in one transaction; False when it was told already."""
    everybody = {member.pk: member for member in people if member.is_active}
    try:
        with transaction.atomic():
            notice = Notice.objects.create(
                about=news.about[:200],
                kind=news.kind,
                title=news.title[:200],
                text=news.text[:4000],
                link=news.link,
                urgent=news.urgent,
                key=news.key,
                task=news.task,
            )
            Message.objects.bulk_create(_messages(notice, everybody.values(), address))
    except IntegrityError:
        return False
    return True


def _messages(notice: Notice, people: Iterable[Member], address: str) -> list[Message]:
    now = timezone.now()
    people = list(people)
    chosen = {one.member_id: one for one in Preference.objects.filter(member__in=people)}
    made = [
        Message(notice=notice, channel="console", member=one, state=Message.State.SENT, sent_at=now)
        for one in people
    ]
    if settings.EMAIL_HOST:
        for one in people:
            wish = chosen.get(one.pk) or Preference(member=one)
            if notice.urgent or (wish.mail and not wish.only_urgent):
                due = due_for(wish, now, urgent=notice.urgent)
                made.append(Message(notice=notice, channel="mail", member=one, due_at=due))
        if address and address.lower() not in {one.email for one in people}:
            made.append(Message(notice=notice, channel="mail", address=address, due_at=now))
    made += [
        Message(notice=notice, channel="hook", hook=hook, due_at=now) for hook in _hooks(notice)
    ]
    return made


def _hooks(notice: Notice) -> QuerySet[Hook]:
    """Return the places that are told of this: those of its application, and those of everything."""
    application = notice.key.application_id if notice.key else None
    found = Hook.objects.filter(Q(application=None) | Q(application=application))
    return found if notice.urgent else found.filter(only_urgent=False)
