"""When is a key due? Pure functions over dates and time zones, and the little that stores them."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q

from keyvault.audit.log import system_actor
from rotation import windows
from rotation.expiry import before_expiry, lead_of
from rotation.human_tasks import close_alert, open_alert
from rotation.models import Freeze, HumanTask, RotationPolicy


def local_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the UTC moment of a local time: the first of a doubled one, the next of a missing one."""
    moment = datetime.combine(day, at, tzinfo=zone).replace(fold=0)
    back = moment.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) == moment.replace(tzinfo=None):
        return moment.astimezone(UTC)
    # A clock change skips this time: with fold=0 the conversion lands after the gap.
    return _after_gap(day, at, zone)


def _after_gap(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the first moment after the gap that swallowed the local time."""
    before = datetime.combine(day, at, tzinfo=zone).replace(fold=1).astimezone(UTC)
    after = datetime.combine(day, at, tzinfo=zone).replace(fold=0).astimezone(UTC)
    low, high = min(before, after), max(before, after)
    # The offset changes somewhere between the two readings; that is where the gap ends.
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def next_run(last: datetime, every_days: int, at: time, zone_name: str) -> datetime:
    """Return the UTC time of the run that follows `last`: N local days later at the local time."""
    zone = ZoneInfo(zone_name)
    day = last.astimezone(zone).date() + timedelta(days=every_days)
    return local_moment(day, at, zone)


def plan_next(key_id: int) -> None:
    """Store when the key is due again, counted from its last rotation (or from now)."""
    policy = RotationPolicy.objects.select_related("key__current").filter(key=key_id).first()
    if policy is None:
        return
    last = policy.key.rotated_at or policy.key.created_at
    wanted = next_run(last, policy.every_days, policy.at_time, policy.time_zone)
    plan(policy, _in_time(wanted, policy))


def plan(policy: RotationPolicy, wanted: datetime) -> None:
    """Store the first allowed moment at or after `wanted`; ask a person if the key ends before it."""
    policy.next_run_at = allowed(policy, wanted)
    policy.save(update_fields=["next_run_at"])
    _ask_if_too_late(policy)


def allowed(policy: RotationPolicy, wanted: datetime) -> datetime | None:
    """Return the first moment at or after `wanted` inside the policy's window and outside freezes."""
    return windows.next_open(
        wanted,
        windows.parse(policy.window),
        frozen_days(policy.key.environment_id),
        ZoneInfo(policy.time_zone),
    )


def frozen_days(environment_id: int) -> list[tuple[date, date]]:
    """Return the frozen days that count for an environment."""
    here = Q(environment__isnull=True) | Q(environment=environment_id)
    return list(Freeze.objects.filter(here).values_list("first_day", "last_day"))


def _ask_if_too_late(policy: RotationPolicy) -> None:
    """A key that ends before it may rotate is a person's to decide; nothing is picked silently."""
    key, at = policy.key, policy.next_run_at
    about = f"ends-first:{key.pk}"
    actor = system_actor("schedule")
    ends = key.current.expires_at if key.current else None
    if not policy.enabled or ends is None or (at is not None and at < ends):
        close_alert(actor, HumanTask.Kind.FINDING, about, "It is planned before it ends.")
        return
    planned = f"at {at:%Y-%m-%d %H:%M} UTC" if at else "never, within 400 days"
    text = (
        f"{key} ends at {ends:%Y-%m-%d %H:%M} UTC, and its policy lets it rotate {planned}. Rotate "
        "it now, or change the window, the freeze or the interval."
    )
    open_alert(actor, HumanTask.Kind.FINDING, about, text, account=key.account, key=key)


def _in_time(wanted: datetime, policy: RotationPolicy) -> datetime:
    """Return `wanted`, or an earlier moment at which the current secret can still be replaced.

    A policy with a window says when not to rotate, so there a person is asked instead.
    """
    current = policy.key.current
    if policy.window or current is None or current.expires_at is None:
        return wanted
    life = current.expires_at - current.created_at
    lead = lead_of(life, policy.overlap_seconds, policy.quiet_seconds)
    return before_expiry(wanted, current.expires_at, lead)
