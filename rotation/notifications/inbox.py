"""A person's notifications, and the delivery log for owners."""

from django.db.models import QuerySet
from django.utils import timezone

from keyvault.access.permissions import require_owner
from keyvault.models import Member
from rotation.models import NotificationDelivery


def inbox(by: Member) -> QuerySet[NotificationDelivery]:
    """Return what this person was told, with the notices."""
    mine = NotificationDelivery.objects.filter(
        member=by, channel=NotificationDelivery.Channel.CONSOLE
    )
    return mine.select_related("notice")


def mark_read(by: Member) -> None:
    """Note that the person has seen what they were told."""
    inbox(by).filter(read_at=None).update(read_at=timezone.now())


def log(by: Member) -> QuerySet[NotificationDelivery]:
    """Return what went out to others, for owners: to whom, how, and what came of it."""
    require_owner(by, "look at the delivery log")
    sent = NotificationDelivery.objects.exclude(channel=NotificationDelivery.Channel.CONSOLE)
    return sent.select_related("notice", "member", "hook")
