"""Store when a key is due: the pure answers of schedule.py, kept within windows and freezes."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from keyvault.audit.actors import system_actor
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, RotationPolicy
from rotation.scheduling import next_run, windows
from rotation.scheduling.freeze_days import Freezes, Span
from rotation.scheduling.next_run import before_expiry, lead_of


def plan_next(key_id: int) -> None:
    """Store when the key is due again, counted from its last rotation (or from now)."""
    policy = RotationPolicy.objects.select_related("key__current").filter(key=key_id).first()
    if policy is not None:
        _store(policy, due_at(policy, Freezes().of(policy.key.environment_id)))
        ask_if_too_late(policy)


def due_at(policy: RotationPolicy, frozen: Sequence[Span]) -> datetime | None:
    """Return when the key is due, counted from its last rotation; writes nothing."""
    last = policy.key.rotated_at or policy.key.created_at
    wanted = next_run.following(last, policy)
    if wanted is None:
        return None
    return next_run.fit(last, _in_time(wanted, policy), policy, frozen)


def plan(policy: RotationPolicy, wanted: datetime | None, frozen: Sequence[Span]) -> None:
    """Store the first allowed moment at or after `wanted`; ask a person if the key ends before it."""
    _store(policy, allowed(policy, wanted, frozen) if wanted else None)
    # A secret without an end is never asked about, so there is no question to look for.
    if policy.key.current and policy.key.current.expires_at:
        ask_if_too_late(policy)


def _store(policy: RotationPolicy, at: datetime | None) -> None:
    policy.next_run_at = at
    policy.save(update_fields=["next_run_at"])


def allowed(policy: RotationPolicy, wanted: datetime, frozen: Sequence[Span]) -> datetime | None:
    """Return the first moment at or after `wanted` inside the policy's window and outside freezes."""
    return windows.next_open(
        wanted, windows.parse(policy.window), frozen, ZoneInfo(policy.time_zone)
    )


def may_run_late(policy: RotationPolicy, now: datetime, frozen: Sequence[Span]) -> bool:
    """Return whether a run that missed its window is to be made up for at once, freezes apart."""
    if policy.missed != "now":
        return False
    # guard: late, but in no freeze
    return windows.next_open(now, None, frozen, ZoneInfo(policy.time_zone)) == now


def ask_if_too_late(policy: RotationPolicy) -> None:
    """A key that ends before it may rotate is a person's to decide; nothing is picked silently."""
    key, at = policy.key, policy.next_run_at
    about = f"ends-first:{key.pk}"
    actor = system_actor("schedule")
    ends = key.current.expires_at if key.current else None
    # guard: ends before its window
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
