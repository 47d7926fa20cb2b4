"""Can this policy be kept? What cannot is refused when it is said, with what would be possible."""

import math
from dataclasses import dataclass, fields
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone

from keyvault.core.errors import BadInput
from keyvault.inventory.vendor_gateway import provider_of, timing_of
from rotation import recurrence
from rotation.models import MissedWindow, RotationPolicy
from rotation.scheduling import next_run, windows
from rotation.scheduling.freeze_days import Freezes, Span
from rotation.scheduling.next_run import following

_LONGEST_DAYS = 3650
_LONGEST_SECONDS = _LONGEST_DAYS * 86400
_DAY = 86400
_MOST_STANDBYS = 5


@dataclass(frozen=True)
class Wish:
    """A policy as a person asks for it; None leaves it to the levels above. Times in seconds.

    The clock time is that of `time_zone`; `rule` is an RRULE or words such as “first Monday”.
    """

    every_days: int | None = None
    at_time: time | None = None
    time_zone: str | None = None
    overlap_seconds: int | None = None
    quiet_seconds: int | None = None
    enabled: bool | None = None
    window: str | None = None
    rule: str | None = None
    missed: str | None = None
    jitter_minutes: int | None = None
    max_age_days: int | None = None
    standbys: int | None = None

    def cleaned(self) -> dict[str, Any]:
        """Return what is said, each part possible by itself; BadInput for what is not."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        _require_range("Rotate every", self.every_days, 1, _LONGEST_DAYS, "days")
        _require_range("The maximum age is", self.max_age_days, 1, _LONGEST_DAYS, "days")
        _require_range("The jitter is", self.jitter_minutes, 0, 24 * 60, "minutes")
        _require_range("The overlap is", self.overlap_seconds, 0, _LONGEST_SECONDS, "seconds")
        # Without a quiet period nothing would show that the old key is no longer used.
        _require_range("The quiet period is", self.quiet_seconds, 1, _LONGEST_SECONDS, "seconds")
        _require_range("Standbys are", self.standbys, 0, _MOST_STANDBYS, "at a key")
        if self.time_zone is not None and self.time_zone not in available_timezones():
            raise _impossible(f"“{self.time_zone[:60]}” is not a known time zone.")
        if self.missed is not None and self.missed not in MissedWindow.values:
            raise _impossible(f"A missed window is one of {', '.join(MissedWindow.values)}.")
        if self.rule is not None:
            said["rule"] = _read(recurrence.parse, self.rule) or None
        if self.window is not None:
            _read(windows.parse, self.window)
        return said


def _impossible(text: str) -> BadInput:
    return BadInput(f"{text} Nothing was changed.", code="impossible_policy")


def _require_range(what: str, amount: int | None, least: int, most: int, unit: str) -> None:
    if amount is not None and not least <= amount <= most:
        raise _impossible(f"{what} {least} to {most} {unit}.")


def _read(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise _impossible(str(error)) from None


def require_possible(policy: RotationPolicy, frozen: list[Span] | None = None) -> None:
    """Raise BadInput if a policy, with all that counts for its key, cannot be kept."""
    if frozen is None:
        frozen = Freezes().of(policy.key.environment_id)
    _require_time_between(policy)
    # guard: a quiet period that shows nothing
    _require_quiet(policy)
    _require_open(policy, frozen)
    _require_young(policy, frozen)


def require_rhythm(policy: RotationPolicy) -> None:
    """Raise BadInput if nothing says how often."""
    if not (policy.every_days or policy.rule or policy.max_age_days):
        raise _impossible(
            "Neither this key nor a level above it says how often: give a number of days, a rule "
            "or a maximum age."
        )


def _require_time_between(policy: RotationPolicy) -> None:
    """A rotation must be able to end before the next one is due."""
    days = policy.every_days or policy.max_age_days or 0
    if policy.rule:
        days = recurrence.shortest_gap(policy.rule, timezone.now().date())
    if policy.max_age_days:
        days = min(days, policy.max_age_days)
    taken = policy.overlap_seconds + policy.quiet_seconds
    if days and taken >= days * _DAY:
        raise _impossible(
            "Overlap and quiet period together must be shorter than the interval: the next rotation "
            f"would be due before this one can end. With these two, {taken // _DAY + 1} days is the "
            "shortest."
        )


def _require_quiet(policy: RotationPolicy) -> None:
    """Refuse a quiet period that can pass between two uses that the vendor tells apart."""
    account = policy.key.account
    timing = timing_of(account)
    if not provider_of(account).tells_last_use or (
        policy.quiet_seconds >= timing.least_quiet_seconds
    ):
        return
    late = timing.last_use_lag_seconds
    raise _impossible(
        f"A quiet period of {policy.quiet_seconds} seconds shows nothing at {account}: its vendor tells "
        f"the last use of a key to {timing.last_use_resolution_seconds:g} seconds"
        f"{f' and {late:g} seconds late' if late else ''}. {math.ceil(timing.least_quiet_seconds)} "
        "seconds is the shortest."
    )


def _require_open(policy: RotationPolicy, frozen: list[Span]) -> None:
    """Refuse a window that freezes cover for longer than plans look ahead."""
    zone, window = ZoneInfo(policy.time_zone), windows.parse(policy.window)
    now = timezone.now()
    if windows.next_open(now, window, frozen, zone) is not None:
        return
    free = windows.next_open(now, window, [], zone)
    raise _impossible(
        f"With this window and the freezes on record {policy.key} could not rotate within 400 days."
        f" Without the freezes the first moment would be {_told(free, zone)}."
    )


def _require_young(policy: RotationPolicy, frozen: list[Span]) -> None:
    """Refuse a maximum age that windows and freezes do not let the key keep."""
    last = policy.key.rotated_at or policy.key.created_at or timezone.now()
    limit, wanted = next_run.oldest(last, policy), following(last, policy)
    if limit is None or wanted is None or limit <= timezone.now():
        return
    at = next_run.fit(last, wanted, policy, frozen)
    if at is None or at > limit:
        zone = ZoneInfo(policy.time_zone)
        raise _impossible(
            f"{policy.key} would be too old on {_told(limit, zone)}, and windows and freezes let it "
            f"rotate {_told(at, zone)} at the earliest: allow {_days(last, at)} days, or end the "
            "freeze sooner."
        )


def _days(last: datetime, at: datetime | None) -> int:
    return ((at or last + windows.LOOK_AHEAD) - last + timedelta(days=1)).days


def _told(at: datetime | None, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}" if at else "never, within 400 days"
