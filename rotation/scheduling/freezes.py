"""The door to freezes: days on which nothing rotates by itself, everywhere or in one environment."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Denied
from keyvault.core.validators import require_clean
from keyvault.models import Environment, Member
from rotation import recurrence
from rotation.models import ChangeFreeze, FreezeCalendar, RotationPolicy
from rotation.scheduling import ics
from rotation.scheduling.ics import Unreadable
from rotation.scheduling.ics_days import LONGEST, Event, Reading, horizon
from rotation.scheduling.replanner import replan

_YEARS = (2000, 2100)
LARGEST_FILE, MOST_EVENTS = 500_000, 500
# A file is read once, so its series are expanded further than those of a calendar read each hour.
_FILE_YEARS, _MOST_ZONES = 10, 30


def add_freeze(
    by: Member,
    name: str,
    first_day: date,
    last_day: date,
    environment: Environment | None = None,
    rule: str = "",
) -> ChangeFreeze:
    """Keep everything (or one environment) from rotating by itself on these days, from now on.

    With a rule it recurs for as long each time. Raises Denied, or BadInput when the days are in the
    wrong order, too many, or cover a key's maximum age.
    """
    _require_owner(by)
    with transaction.atomic():
        freeze = _save(name, first_day, last_day, environment, rule)
        replan(environment)
        record(Action.FREEZE_CHANGED, member_actor(by), freeze, added=True)
    return freeze


def _require_owner(by: Member) -> None:
    if not may(by, Permission.MANAGE):
        raise Denied("Only an owner of the installation may freeze rotations. Nothing was changed.")


def _save(
    name: str,
    first_day: date,
    last_day: date,
    environment: Environment | None,
    rule: str,
    feed: FreezeCalendar | None = None,
) -> ChangeFreeze:
    if not first_day <= last_day:
        raise BadInput("The freeze would end before it begins. Nothing was changed.")
    if not (_YEARS[0] <= first_day.year and last_day.year <= _YEARS[1]):
        raise BadInput("A freeze lies between the years 2000 and 2100. Nothing was changed.")
    if last_day - first_day > LONGEST:
        raise BadInput("A freeze may last 200 days at most. Nothing was changed.")
    freeze = ChangeFreeze(name=name.strip(), first_day=first_day, last_day=last_day)
    freeze.environment = environment
    freeze.rule, freeze.feed = _rule(rule, freeze), feed
    require_clean(freeze)
    # guard: a calendar's freeze comes before a maximum age
    if feed is None:
        _require_ages_left(freeze)
    freeze.save()
    return freeze


def _rule(text: str, freeze: ChangeFreeze) -> str:
    try:
        rule = recurrence.parse(text)
    except ValueError as error:
        raise BadInput(f"{error} Nothing was changed.") from None
    days = (freeze.last_day - freeze.first_day).days + 1
    if rule and recurrence.shortest_gap(rule, freeze.first_day) <= days:
        raise BadInput(
            f"It would recur before its {days} days are over: nothing could rotate any "
            "more. Nothing was changed."
        )
    if rule and len(recurrence.spans(rule, freeze.first_day, LONGEST, *_twelve_years(freeze))) < 2:
        raise BadInput("Counted from its first day it never comes again. Nothing was changed.")
    return rule


def _twelve_years(freeze: ChangeFreeze) -> tuple[date, date]:
    return freeze.first_day + timedelta(days=12 * 366), freeze.first_day


def _require_ages_left(freeze: ChangeFreeze) -> None:
    """Refuse a freeze that is as long as a key below it may be old: it could not be kept."""
    below = RotationPolicy.objects.filter(enabled=True, max_age_days__isnull=False)
    if freeze.environment:
        below = below.filter(key__environment=freeze.environment)
    tight = below.select_related("key").order_by("max_age_days").first()
    days = (freeze.last_day - freeze.first_day).days + 1
    if freeze.last_day < timezone.now().date() and not freeze.rule:
        return  # it is over: calendars keep what was
    # guard: a freeze as long as a maximum age
    if tight is None or tight.max_age_days is None or days < tight.max_age_days:
        return
    last = freeze.first_day + timedelta(days=tight.max_age_days - 2)
    raise BadInput(
        f"{tight.key} may be {tight.max_age_days} days old at most, and this freeze lasts {days}: "
        f"end it on {last} at the latest, or give that key more time. Nothing was "
        "changed."
    )


def end_freeze(by: Member, freeze: ChangeFreeze) -> None:
    """Remove a freeze; what it held back is planned anew."""
    if not may(by, Permission.MANAGE):
        raise Denied("Only an owner of the installation may end a freeze.")
    # guard: freezes of a calendar end with it
    if freeze.feed:
        raise BadInput(
            f"It comes from the calendar {freeze.feed}: end it there. Nothing was changed."
        )
    with transaction.atomic():
        record(Action.FREEZE_CHANGED, member_actor(by), freeze, added=False)
        environment = freeze.environment
        freeze.delete()
        # guard: a freeze can be ended
        replan(environment, strict=False)


def add_from_calendar(
    by: Member, content: bytes, environment: Environment | None = None
) -> tuple[list[ChangeFreeze], list[str]]:
    """Add the days that an iCalendar file (RFC 5545) freezes: all of them, or none.

    Returns them with remarks on what could not be read exactly. Raises Denied, or BadInput that names
    the event that does not fit.
    """
    _require_owner(by)
    reading = read_calendar(content, years=_FILE_YEARS)
    if not reading.events:
        raise BadInput(
            "No event of it freezes a day to come. {remarks} Nothing was changed.".format(
                remarks=" ".join(reading.remarks)
            )
        )
    with transaction.atomic():
        added = [save_event(one, environment) for one in reading.events]
        replan(environment)
        for freeze in added:
            record(Action.FREEZE_CHANGED, member_actor(by), freeze, added=True)
    last = timezone.now().date().year + _FILE_YEARS
    for name in dict.fromkeys(reading.endless):
        reading.remarks.append(
            f"“{name}” goes on without an end: its days are frozen until {last}."
        )
    return added, reading.remarks


def save_event(
    event: Event, environment: Environment | None, feed: FreezeCalendar | None = None
) -> ChangeFreeze:
    """Store an event of a calendar as a freeze; BadInput names it if it cannot be one.

    One of a calendar that is read each hour is kept even where a key cannot be kept young enough by
    it: people are asked about the key.
    """
    try:
        return _save(event.name, event.first_day, event.last_day, environment, event.rule, feed)
    except BadInput as error:
        raise BadInput(f"“{event.name[:60]}”: {error.message}") from None


def read_calendar(content: bytes, years: int = 2, *, partial: bool = False) -> Reading:
    """Return what a calendar file freezes, with remarks; BadInput for what is no calendar.

    Series are expanded over `years` to come. Times in UTC count in every zone that policies use. One
    that was cut off is refused, or with `partial` read as far as it came.
    """
    if len(content) > LARGEST_FILE:
        raise BadInput("The file is larger than 500 KB. Nothing was changed.")
    used = RotationPolicy.objects.order_by("time_zone").values_list("time_zone", flat=True)
    zones = [settings.TIME_ZONE, *used.distinct()[:_MOST_ZONES]]
    known = [ZoneInfo(name) for name in dict.fromkeys(zones)]
    try:
        within = horizon(timezone.now().date(), known, years)
        reading = ics.read(content, within, partial=partial)
    except Unreadable as error:
        word = (
            "The calendar was cut off on its way. Nothing was changed."
            if str(error) == "cut off"
            else "This is no iCalendar file (.ics). Nothing was changed."
        )
        raise BadInput(word) from None
    today = timezone.now().date()
    ahead = [one for one in reading.events if one.rule or one.last_day >= today]
    if len(ahead) > MOST_EVENTS and years == _FILE_YEARS:
        raise BadInput(
            f"It freezes {len(ahead)} ranges of days: 1 to {MOST_EVENTS}. Nothing was changed."
        )
    return reading
