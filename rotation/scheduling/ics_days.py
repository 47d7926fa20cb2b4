"""The days of calendar events (RFC 5545): what can be read exactly, each occurrence by itself.

Series are expanded by recurring-ical-events, between the first and the last day of a horizon.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

from rotation import recurrence

DAY = timedelta(days=1)
LONGEST = timedelta(days=200)
FIRST_YEAR, LAST_YEAR = 2000, 2100
NAMELESS = "From a calendar"
# What a broken calendar makes the libraries raise.
BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)
_KEPT = (
    "UID", "SUMMARY", "STATUS", "TRANSP", "SEQUENCE", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE",
    "EXDATE", "RECURRENCE-ID",
)  # fmt: skip
ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_OFTEN = {"SECONDLY", "MINUTELY", "HOURLY"}
_MOST_TIMES, _MOST_IN_ALL = 5000, 40_000


@dataclass(frozen=True, order=True)
class Event:
    """Days that are frozen, both ends included; with a rule they come again."""

    name: str
    first_day: date
    last_day: date
    rule: str = ""


@dataclass
class Reading:
    """What a file says: its events, the remarks on what was read otherwise, and how many it had."""

    events: list[Event] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    found: int = 0
    # Series without an end whose days are counted up to the horizon only.
    endless: list[str] = field(default_factory=list)
    times: int = 0


@dataclass(frozen=True)
class Horizon:
    """As far as series are expanded, and in which zones the days of a time in UTC are counted."""

    first: date
    last: date
    zones: tuple[ZoneInfo, ...]


def horizon(today: date, zones: Iterable[ZoneInfo], years: int = 2) -> Horizon:
    """Return this year and `years` more, in whole years so that nothing changes from day to day."""
    return Horizon(date(today.year, 1, 1), date(today.year + years, 12, 31), tuple(zones))


@dataclass
class Part:
    """One VEVENT: as the library read it, and as it stands in the text."""

    component: Any
    text: str
    # The zone of its calendar (X-WR-TIMEZONE): times in UTC were turned into it.
    zone: ZoneInfo | None
    cancelled: bool

    @property
    def name(self) -> str:
        """Return the title, in visible characters and as long as a freeze's may be."""
        return ODD.sub(" ", str(self.component.get("SUMMARY") or "")).strip()[:100] or NAMELESS


def is_main(part: Part) -> bool:
    """Tell an event or series from a single date that differs from its series."""
    return "RECURRENCE-ID" not in part.component


def sequence(part: Part) -> int:
    """Return which revision of its event this is; 0 where it does not say."""
    said = part.component.get("SEQUENCE", 0)
    return int(said) if str(said).isdigit() else 0


def is_off(part: Part) -> bool:
    """Tell what was cancelled."""
    return str(part.component.get("STATUS") or "").upper() == "CANCELLED"


def as_rule(part: Part, within: Horizon) -> Event | None:
    """Return a series without an end or exception as days with a rule; None for all others."""
    one = part.component
    rule = one.get("RRULE")
    if rule is None:
        spans = _spans(part, one["DTSTART"].dt, _end(one), within)
        return Event(part.name, *spans[0]) if len(spans) == 1 and "RDATE" not in one else None
    if isinstance(rule, list) or {"RDATE", "EXDATE", "RECURRENCE-ID"} & set(one):
        return None
    spans = _spans(part, one["DTSTART"].dt, _end(one), within)
    said = rule.to_ical().decode()
    try:
        said = recurrence.parse(said)
    except ValueError:
        return None
    first, last = _from_2000(spans[0], said, within)
    again = recurrence.spans(said, first, last - first, first + timedelta(days=12 * 366), first)
    fits = len(spans) == 1 and len(again) > 1 and again[0][0] == first and first.year >= FIRST_YEAR
    close = recurrence.shortest_gap(said, first) <= (last - first).days + 1
    return Event(part.name, first, last, said) if fits and not close else None


def _from_2000(span: tuple[date, date], rule: str, within: Horizon) -> tuple[date, date]:
    """Return a series' first days, or a later time of it where it began long ago."""
    first, last = span
    if first.year >= FIRST_YEAR:
        return span
    later = recurrence.spans(rule, first, last - first, within.last, within.first)
    return later[0] if later else span


def _end(one: Any) -> date:
    start = one["DTSTART"].dt
    if "DTEND" in one:
        end = one["DTEND"].dt
    elif "DURATION" in one:
        end = start + one["DURATION"].dt
    else:
        end = start if isinstance(start, datetime) else start + DAY
    if not isinstance(end, date):
        raise TypeError("neither a day nor a time")
    return end


def _spans(part: Part, start: Any, end: Any, within: Horizon) -> list[tuple[date, date]]:
    """Return the days of one occurrence; of a time in UTC alone, as each zone in use sees it."""
    if _is_in_utc_alone(part, start) and isinstance(end, datetime):
        zones = within.zones or (ZoneInfo("UTC"),)
        # guard: the days of a time in UTC
        days = [_days(start.astimezone(zone), end.astimezone(zone)) for zone in zones]
        days.append(_days(start, end))
        return [(min(one for one, _ in days), max(one for _, one in days))]
    return [_days(start, end)]


def _is_in_utc_alone(part: Part, start: Any) -> bool:
    """Tell a time in UTC of which nobody says in which zone its day counts."""
    if not isinstance(start, datetime) or start.tzinfo is None or part.zone:
        return False
    named = str(getattr(start.tzinfo, "key", start.tzname()) or "")
    return named.upper() in ("UTC", "ETC/UTC", "Z")


def _days(start: Any, end: Any) -> tuple[date, date]:
    # The end of an all-day event, and midnight of a timed one, no longer belong to it.
    last = end - timedelta(seconds=1) if isinstance(end, datetime) else end - DAY
    first = start.date() if isinstance(start, datetime) else start
    last = last.date() if isinstance(last, datetime) else last
    return first, max(first, last)


def expanded(parts: Sequence[Part], within: Horizon, reading: Reading) -> list[Event]:
    """Return the days of all occurrences, those that were moved at their new place."""
    bare, zone = icalendar.Calendar(), parts[0].zone
    for part in parts:
        made = icalendar.Event()
        for name in _KEPT:
            if name in part.component:
                made[name] = part.component[name]
        _bound(part, made, within, reading)
        bare.add_component(made)
    query = recurring_ical_events.of(bare)
    found = []
    for number, one in enumerate(query.between(within.first, within.last + DAY)):
        reading.times += 1
        if number >= _MOST_TIMES or reading.times > _MOST_IN_ALL:
            first = _spans(part, one["DTSTART"].dt, _end(one), within)[0][0]
            found.append(Event(part.name, min(first, within.last), within.last))
            reading.remarks.append(
                f"“{part.name}” comes too often to be counted: each day from {first} on is frozen."
            )
            break
        part = Part(one, "", zone, cancelled=False)
        # guard: cancelled single dates
        if not is_off(part):
            found += [
                Event(part.name, *span)
                for span in _spans(part, one["DTSTART"].dt, _end(one), within)
            ]
    # guard: events of one UID and revision
    return [*found, *_doubles(parts, within)]


def _bound(part: Part, made: Any, within: Horizon, reading: Reading) -> None:
    """Bound what is looked for, and take a rule that comes many times a day as one of each day."""
    said = made.get("RRULE")
    for rule in said if isinstance(said, list) else [said] if said else []:
        often = str(rule.get("FREQ", [""])[0]).upper() in _OFTEN
        if often:
            for name in [one for one in rule if one not in ("FREQ", "UNTIL", "COUNT")]:
                del rule[name]
            rule["FREQ"] = ["DAILY"]
            reading.remarks.append(f"“{part.name}” comes many times a day: each day is frozen.")
        if "UNTIL" in rule:
            # guard: an end of a series that the standard forbids
            _end_by_until(part, made, rule, within, reading)
            if often:  # its last times are of a day, too, and may come before the time of the first
                rule["UNTIL"] = [rule["UNTIL"][0] + DAY - timedelta(seconds=1)]
        elif "COUNT" not in rule:
            reading.endless.append(part.name)
            rule["UNTIL"] = [_end_of(within, made["DTSTART"].dt)]


def _end_by_until(part: Part, made: Any, rule: Any, within: Horizon, reading: Reading) -> None:
    """Give UNTIL the form that the library needs, at the latest time that it can mean.

    RFC 5545 wants it in the form of DTSTART; the library takes each other form as a time in UTC, which
    ends a series in a zone too early.
    """
    start, said = made["DTSTART"].dt, list(rule["UNTIL"])
    far = any(one.year > within.last.year for one in said)
    last = _end_of(within, start) if far else max(_latest(part, made, one, within) for one in said)
    rule["UNTIL"] = [last]
    other = [one for one in said if _form(one) != _form(start)]
    if other:
        lost = _form(start) == "local" and "TZID" in made["DTSTART"].params
        why = (
            "and nobody knows its zone"
            if lost
            else "which RFC 5545 does not allow beside its DTSTART"
        )
        reading.remarks.append(
            f"“{part.name}” ends by UNTIL={icalendar.vDDDTypes(other[0]).to_ical().decode()}, {why}: it "
            "is frozen to the latest time that this can mean."
        )


def _form(at: date) -> str:
    """Return which of the three forms of RFC 5545 this is."""
    if not isinstance(at, datetime):
        return "day"
    return "local" if at.tzinfo is None else "instant"


def _latest(part: Part, made: Any, until: date, within: Horizon) -> date:
    """Return the end of a series in the form of its beginning; in UTC where any of its times has a zone."""
    start = made["DTSTART"].dt
    zones: set[tzinfo] = {UTC, *within.zones, *([part.zone] if part.zone else [])}
    if _form(start) == "instant":
        homes = zones if _is_in_utc_alone(part, start) else {start.tzinfo}
        return until if _form(until) == "instant" else _instant(_wall(until, zones), homes)
    wall = _wall(until, zones)
    if _form(start) == "day":
        wall = datetime.combine(wall, time(23, 59, 59))
    if beside := _zones_beside(made):  # the library then reads the beginning in such a zone, too
        return _instant(wall, beside)
    return wall.date() if _form(start) == "day" else wall


def _wall(until: date, zones: Iterable[tzinfo]) -> datetime:
    """Return an end as a clock on the wall shows it: the end of a day, the latest of these zones."""
    if not isinstance(until, datetime):
        return datetime.combine(until, time(23, 59, 59))
    if until.tzinfo is None:
        return until
    return max(until.astimezone(zone).replace(tzinfo=None) for zone in zones)


def _instant(wall: datetime, zones: Iterable[tzinfo]) -> datetime:
    """Return the latest time in UTC at which a clock in one of these zones shows this."""
    both = [wall.replace(tzinfo=zone, fold=fold) for zone in zones for fold in (0, 1)]
    return max(one.astimezone(UTC) for one in both)


def _zones_beside(made: Any) -> set[tzinfo]:
    """Return the zones of an event's end, added and left out times."""
    found = [made["DTEND"].dt] if "DTEND" in made else []
    for name in ("RDATE", "EXDATE"):
        lists = made.get(name, [])
        for one in lists if isinstance(lists, list) else [lists]:
            found += [each.dt[0] if isinstance(each.dt, tuple) else each.dt for each in one.dts]
    return {one.tzinfo for one in found if isinstance(one, datetime) and one.tzinfo is not None}


def _end_of(within: Horizon, start: date) -> date:
    """Return the end of what is expanded, in the form that the series' beginning has."""
    last = datetime(within.last.year + 1, 1, 2)
    if not isinstance(start, datetime):
        return last.date()
    return last.replace(tzinfo=ZoneInfo("UTC")) if start.tzinfo else last


def _doubles(parts: Sequence[Part], within: Horizon) -> Iterator[Event]:
    """Yield the days of events that share UID and SEQUENCE: which of them counts nobody can say."""
    alone = [
        part for part in parts if not {"RECURRENCE-ID", "RRULE", "RDATE"} & set(part.component)
    ]
    numbers = [sequence(part) for part in alone]
    for part, number in zip(alone, numbers, strict=True):
        if numbers.count(number) > 1 and number == max(numbers):
            spans = _spans(part, part.component["DTSTART"].dt, _end(part.component), within)
            yield from (Event(part.name, *span) for span in spans)
