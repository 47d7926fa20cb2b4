"""Why has an overdue key not begun to rotate? What it waits for, since when, and who can do what."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from rotation.models import (
    AT_REST,
    OPEN_STEPS,
    Outage,
    Reason,
    Rotation,
    RotationPolicy,
    WaitingFor,
)


@dataclass(frozen=True)
class Held:
    """What an overdue key waits for; `rotation` is the one to look at, if it is one."""

    text: str
    since: datetime | None
    rotation: int | None = None


def blocker_of(policy: RotationPolicy | None) -> Held | None:
    """Return why a key that is due has not begun; None when it is not due, or nothing holds it.

    A pause says so by itself on the same page.
    """
    now = timezone.now()
    if policy is None or not policy.enabled or not policy.next_run_at or policy.next_run_at > now:
        return None
    return _sibling(policy) or _away(policy) or _full(policy)


def _sibling(policy: RotationPolicy) -> Held | None:
    if policy.key.application_id is None:
        return None
    moving = Rotation.objects.filter(
        key__application=policy.key.application_id, step__in=OPEN_STEPS
    ).exclude(waiting_for__in=AT_REST)
    other = moving.exclude(key=policy.key_id).select_related("key").order_by("pk").first()
    if other is None:
        return None
    text = (
        f"Two keys of one application never move at the same time: it waits for {other.key.name}. "
        "Whoever may rotate it can start it by hand."
    )
    return Held(text, other.started_at, other.pk)


def _away(policy: RotationPolicy) -> Held | None:
    outage = Outage.objects.filter(account=policy.key.account_id, told_at__isnull=False).first()
    if outage is None:
        return None
    text = f"{policy.key.account} does not answer; it begins by itself as soon as it does."
    return Held(text, outage.failing_since)


def _full(policy: RotationPolicy) -> Held | None:
    running = Rotation.objects.filter(
        key__account=policy.key.account_id, step__in=OPEN_STEPS, reason=Reason.SCHEDULE
    ).exclude(waiting_for=WaitingFor.HOLD)
    if running.count() < settings.MAX_ROTATIONS_PER_ACCOUNT:
        return None
    text = (
        f"As many rotations run at {policy.key.account} as may ({settings.MAX_ROTATIONS_PER_ACCOUNT}); "
        "it begins when one of them ends. Whoever may rotate it can start it by hand."
    )
    return Held(text, policy.next_run_at)
