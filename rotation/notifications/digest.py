"""The week on one page: what is due, what ends, what waits; each Monday morning, where it is one."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import F
from django.utils import timezone

from keyvault.access.permissions import visible_keys
from keyvault.models import Member
from rotation.human_tasks import visible_tasks
from rotation.models import Notification, NotificationPreference
from rotation.models.notifications import default_zone
from rotation.notifications.notify import NewNotification, notify

_HOUR = 8
_SHOWN = 10
# One look an hour is enough, whichever worker takes it.
_TURN = """
INSERT INTO rotation_heartbeat (name, at) VALUES ('digest', %(now)s)
ON CONFLICT (name) DO UPDATE SET at = excluded.at
    WHERE rotation_heartbeat.at <= %(now)s - interval '1 hour'
RETURNING at
"""


def tell_all() -> int:
    """Tell each person whose Monday morning it is and who wants it; returns how many were told."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_TURN, {"now": now})
        if cursor.fetchone() is None:
            return 0
    zones = dict(NotificationPreference.objects.values_list("member_id", "time_zone"))
    without = set(
        NotificationPreference.objects.filter(weekly=False).values_list("member_id", flat=True)
    )
    told = 0
    for member in Member.objects.filter(is_active=True).exclude(pk__in=without).iterator():
        local = now.astimezone(ZoneInfo(zones.get(member.pk, default_zone())))
        if local.weekday() == 0 and local.hour >= _HOUR:
            told += _tell(member, local)
    return told


def _tell(member: Member, local: datetime) -> bool:
    year, week, _ = local.isocalendar()
    about = f"digest:{member.pk}:{year}-{week:02}"
    if Notification.objects.filter(about=about).exists():
        return False
    text = text_for(member)
    if not text:
        return False
    news = NewNotification(
        about, Notification.Kind.DIGEST, f"Your keys in week {week}", text, link="/"
    )
    return notify(news, [member])


def text_for(member: Member) -> str:
    """Return what the week holds for this person, a line a thing; empty when it holds nothing."""
    now = timezone.now()
    keys = visible_keys(member).select_related("account", "environment", "policy", "current")
    due = keys.filter(
        policy__enabled=True, policy__next_run_at__lt=now + timedelta(days=7)
    ).order_by(F("policy__next_run_at"))
    ends = keys.filter(current__expires_at__lt=now + timedelta(days=30)).order_by(
        F("current__expires_at")
    )
    tasks = visible_tasks(member).filter(closed_at=None).select_related("key__account", "account")
    parts = [
        _part("Waits for a person", [f"{one}" for one in tasks[: _SHOWN + 1]]),
        _part(
            "Rotates this week",
            [f"{one}: {_at(one.policy.next_run_at)}" for one in due[: _SHOWN + 1]],
        ),
        _part(
            "Ends within 30 days",
            [
                f"{one}: {_at(one.current.expires_at if one.current else None)}"
                for one in ends[: _SHOWN + 1]
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _part(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    more = ["  and more, see the console"] if len(lines) > _SHOWN else []
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines[:_SHOWN]), *more])


def _at(moment: datetime | None) -> str:
    return f"{moment:%a %d %b %H:%M} UTC" if moment else "not planned"
