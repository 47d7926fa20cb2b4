"""Drop what people were told long ago, so that the tables of notices do not grow for ever.

A notice is also the mark that its cause was told, so it stays while the cause may still be there. The
audit log and the history of keys, rotations and tasks are not touched.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from rotation.models import Notification, NotificationDelivery
from rotation.notifications.triggers import reminder_days

# A key is told once for each rung: its mark must outlive the way from the first rung to the end.
_AFTER_LAST_RUNG = timedelta(days=30)
_BATCH = 1000


def forget_told() -> int:
    """Drop a batch of old notices with their messages; returns how many. Called again and again."""
    now = timezone.now()
    kept = timedelta(days=settings.NOTIFICATION_RETENTION_DAYS)
    shortest = timedelta(days=max(reminder_days(), default=0)) + _AFTER_LAST_RUNG
    before = now - max(kept, shortest)
    over = Q(task__isnull=True) | Q(task__closed_at__lt=now - _AFTER_LAST_RUNG)
    waiting = NotificationDelivery.objects.filter(state=NotificationDelivery.State.WAITING).values(
        "notice"
    )
    old = Notification.objects.filter(over, created_at__lt=before).exclude(pk__in=waiting)
    chosen = list(old.order_by("created_at").values_list("pk", flat=True)[:_BATCH])
    if not chosen:
        return 0
    NotificationDelivery.objects.filter(notice__pk__any=chosen).delete()
    Notification.objects.filter(pk__any=chosen).delete()
    return len(chosen)
