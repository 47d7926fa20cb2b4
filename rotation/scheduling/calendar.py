"""The door to the calendar: what rotates when, on which days nothing does, and a feed of it."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from icalendar import Calendar, Event

from keyvault.access.permissions import visible_keys
from keyvault.core.hashing import peppered
from keyvault.core.secret import Secret
from keyvault.inventory import hold_status
from keyvault.models import ApiKey, Member
from rotation.models import NotificationPreference, RotationPolicy
from rotation.scheduling.forecast import coming
from rotation.scheduling.freeze_days import Freezes

# So many policies are looked at for one page or feed, which say so where there are more.
MOST = 500
_FEED_DAYS = 90


@dataclass(frozen=True)
class Planned:
    """One coming run of a key."""

    at: datetime
    key: ApiKey
    moved: str
    overdue: bool
    held: bool = False


@dataclass(frozen=True)
class Plan:
    """The coming runs in their order; `cut` when there are more keys than are looked at."""

    runs: list[Planned]
    cut: bool


def planned(
    member: Member, until: datetime, freezes: Freezes | None = None, most: int = MOST
) -> Plan:
    """Return the runs of the keys that a member may see, up to then; of `most` keys, soonest first."""
    found = RotationPolicy.objects.filter(
        enabled=True, next_run_at__lte=until, key__in=visible_keys(member)
    ).select_related("key__account", "key__environment", "key__application")
    freezes = freezes or Freezes()
    chosen = list(found.order_by(F("next_run_at"))[: most + 1])
    held = hold_status.held_among(policy.key_id for policy in chosen[:most])
    runs = [run for policy in chosen[:most] for run in _runs(policy, freezes, until, held)]
    return Plan(sorted(runs, key=lambda run: (run.at, run.key.pk)), len(chosen) > most)


def _runs(
    policy: RotationPolicy, freezes: Freezes, until: datetime, held: set[int]
) -> Iterator[Planned]:
    now = timezone.now()
    for run in coming(policy, freezes.of(policy.key.environment_id), now):
        if run.at > until:
            return
        yield Planned(run.at, policy.key, run.moved, run.at < now, policy.key_id in held)


def renew_feed(by: Member) -> Secret:
    """Return a new address of one's own feed; the old one opens nothing any more."""
    text = f"kvc_{secrets.token_urlsafe(30)}"
    NotificationPreference.objects.update_or_create(
        member=by, defaults={"feed_digest": peppered(text)}
    )
    return Secret(f"{settings.BASE_URL}/calendar/feed/{text}.ics")


def end_feed(by: Member) -> None:
    """Let one's feed open nothing any more."""
    NotificationPreference.objects.filter(member=by).update(feed_digest="")


def reader_of(text: str) -> Member | None:
    """Return the active member whose feed this is; None for any other text."""
    if not text.startswith("kvc_"):
        return None
    found = NotificationPreference.objects.select_related("member").filter(
        feed_digest=peppered(text), member__is_active=True
    )
    chosen = found.first()
    return chosen.member if chosen else None


def feed(member: Member) -> bytes:
    """Return the coming 90 days as iCalendar (RFC 5545): names and times, nothing secret."""
    told = Calendar()
    told.add("prodid", "-//Keyvault//Rotations//EN")
    told.add("version", "2.0")
    told.add("x-wr-calname", "Key rotations")
    now = datetime.now(UTC)
    plan = planned(member, now + timedelta(days=_FEED_DAYS))
    if plan.cut:
        told.add("x-wr-caldesc", f"Of the {MOST} keys that are due first; there are more.")
    for run in plan.runs:
        event = Event()
        event.add("uid", f"{run.key.pk}-{run.at:%Y%m%dT%H%M%SZ}@keyvault")
        event.add("dtstamp", now)
        event.add("dtstart", run.at)
        event.add("dtend", run.at + timedelta(minutes=30))
        event.add("summary", f"Rotation of {run.key}")
        event.add("url", f"{settings.BASE_URL}/keys/{run.key.pk}/")
        notes = [f"Moved by {run.moved}."] if run.moved else []
        if run.held:
            notes.append("On hold: it stops after the switch, and the old version is kept.")
        if notes:
            event.add("description", " ".join(notes))
        told.add_component(event)
    return bytes(told.to_ical())
