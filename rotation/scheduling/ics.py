"""Which days does an iCalendar file (RFC 5545) freeze? Pure functions over its bytes.

Series are expanded by recurring-ical-events. A freeze is never silently missing: what cannot be read is
frozen on the days that are visible in it, and named; in doubt more is frozen.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import x_wr_timezone

from rotation.scheduling.ics_days import (
    BROKEN,
    DAY,
    LAST_YEAR,
    NAMELESS,
    ODD,
    Event,
    Horizon,
    Part,
    Reading,
    as_rule,
    expanded,
    is_main,
    is_off,
    sequence,
)

_EARLIEST = 1900
_WHEN = {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"}
_WHOLE = ("VEVENT", "VCALENDAR")
_BLOCK = re.compile(r"^BEGIN:VEVENT\s*?$(.*?)^END:VEVENT\s*?$", re.MULTILINE | re.DOTALL | re.I)
_ASIDE = re.compile(
    r"^BEGIN:(VALARM|VTODO|VJOURNAL|VFREEBUSY)\s*?$.*?^END:\1\s*?$\n?", re.M | re.S | re.I
)
_LINE = re.compile(r"^(DTSTART|DTEND|RDATE|RECURRENCE-ID|DURATION|RRULE)\b([^\n]*)$", re.M | re.I)
_VISIBLE = re.compile(r"(?<!\d)((?:19|20|21)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_LENGTH = re.compile(r"(\d{1,3})\s*(w|d)", re.I)
_SECONDS = 20.0


class Unreadable(ValueError):
    """This is no iCalendar file, or one that was cut off."""


def read(content: bytes, within: Horizon, *, partial: bool = False) -> Reading:
    """Return what a calendar file freezes; raises Unreadable for what is none, or was cut off.

    With `partial` one that was cut off is read as far as it came, with a remark.
    """
    reading = Reading()
    parts = _parts(content, reading, partial=partial)
    reading.found = len(parts)
    groups: dict[Any, list[Part]] = defaultdict(list)
    single = count()
    for number, part in parts:
        uid = str(part.component.get("UID") or "")
        groups[number, uid or next(single)].append(part)
    deadline = time.monotonic() + _SECONDS
    for group in groups.values():
        if time.monotonic() < deadline:
            _read_group(group, within, reading)
        else:  # a rule that never comes is looked for until the year 9999
            reading.events += [day for part in group for day in _visible(part, within, reading)]
    reading.events = _merged(reading.events, within)
    reading.remarks = list(dict.fromkeys(reading.remarks))
    return reading


def _parts(content: bytes, reading: Reading, *, partial: bool) -> list[tuple[int, Part]]:
    text = re.sub(r"\r?\n[ \t]", "", _text(content)).replace("\r\n", "\n")
    if not re.search(r"^BEGIN:VCALENDAR\s*$", text, re.M | re.I):
        raise Unreadable("no calendar")
    unended = [_times(text, "BEGIN", name) - _times(text, "END", name) for name in _WHOLE]
    # guard: a calendar that was cut off
    if any(unended):
        if not partial:
            raise Unreadable("cut off")
        text += "\nEND:VEVENT\nEND:VCALENDAR\n" if unended[0] else "\nEND:VCALENDAR\n"
        reading.remarks.append("The calendar was cut off on its way: what came of it is frozen.")
    blocks = _BLOCK.findall(text)
    events = _calendars(_ASIDE.sub("", text), reading)
    if len(events) != len(blocks):
        events = [_alone(block) for block in blocks]
    return [
        (number, Part(one, block, zone, off))
        for (number, one, zone, off), block in zip(events, blocks, strict=True)
    ]


def _times(text: str, word: str, name: str) -> int:
    return len(re.findall(rf"^{word}:{name}\s*$", text, re.M | re.I))


def _alone(block: str) -> tuple[int, Any, None, bool]:
    """Return one event by itself, where something else in the file cannot be read; else an empty one."""
    text = _ASIDE.sub("", f"BEGIN:VEVENT{block}END:VEVENT\n")
    try:
        return 0, icalendar.Event.from_ical(text.strip().replace("\n", "\r\n")), None, False
    except BROKEN:
        return 0, icalendar.Event(), None, False


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _calendars(text: str, reading: Reading) -> list[tuple[int, Any, ZoneInfo | None, bool]]:
    """Return the events of all calendars: number of the calendar, event, its zone, cancelled."""
    found = []
    try:
        for number, one in enumerate(icalendar.Calendar.from_ical(text, multiple=True)):
            off = str(one.get("METHOD") or "").upper() == "CANCEL"
            zoned = _in_zone(str(one.get("X-WR-TIMEZONE") or ""), reading)
            # guard: the zone of a calendar
            calendar = x_wr_timezone.to_standard(one) if zoned else one
            found += [(number, event, zoned, off) for event in calendar.walk("VEVENT")]
    except BROKEN:
        return []
    return found


def _in_zone(name: str, reading: Reading) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, KeyError, OSError):
        reading.remarks.append(
            f"The calendar's zone “{ODD.sub(' ', name)[:60]}” is not known: its times in UTC count in "
            "every zone that is used here."
        )
        return None


def _read_group(group: list[Part], within: Horizon, reading: Reading) -> None:
    """Read the events of one UID: a series with the single dates that differ from it."""
    kept = [part for part in group if not part.cancelled and not _is_free(part, reading)]
    off = max((sequence(part) for part in kept if is_off(part) and is_main(part)), default=-1)
    # guard: a cancellation by a later revision
    kept = [part for part in kept if not is_main(part) or sequence(part) > off]
    kept = [part for part in kept if not _is_of_another_age(part, reading)]
    broken = [part for part in kept if _is_broken(part)]
    for part in broken:
        reading.events += _visible(part, within, reading)
    whole = [part for part in kept if part not in broken]
    if not whole:
        return
    rule = as_rule(whole[0], within) if len(kept) == 1 else None
    if rule is not None:
        reading.events.append(rule)
        return
    try:
        reading.events += expanded(whole, within, reading)
    except BROKEN:
        for part in whole:
            reading.events += _visible(part, within, reading)


def _is_free(part: Part, reading: Reading) -> bool:
    """Tell the hours that a person marked as free; whole days are marked so by calendar programs."""
    if str(part.component.get("TRANSP") or "").upper() != "TRANSPARENT":
        return False
    start = getattr(part.component.get("DTSTART"), "dt", None)
    if isinstance(start, datetime):
        reading.remarks.append(f"“{part.name}” is marked as free time and does not freeze.")
        return True
    return False


def _is_of_another_age(part: Part, reading: Reading) -> bool:
    start = getattr(part.component.get("DTSTART"), "dt", None)
    if not isinstance(start, date) or _EARLIEST <= start.year <= LAST_YEAR:
        return False
    reading.remarks.append(f"“{part.name}” lies in the year {start.year} and does not freeze.")
    return True


def _is_broken(part: Part) -> bool:
    """Tell an event whose dates the library dropped: it only notes that in `errors`."""
    one = part.component
    said = one.get("RRULE", [])
    if not all("FREQ" in rule for rule in (said if isinstance(said, list) else [said])):
        return True
    noted = {str(name or "").upper() for name, _why in one.errors}
    # guard: broken dates of an event
    return bool(noted & _WHEN) or not isinstance(getattr(one.get("DTSTART"), "dt", None), date)


def _visible(part: Part, within: Horizon, reading: Reading) -> list[Event]:
    """Return the days that can be seen in an event that cannot be read: from the first to the last."""
    seen: dict[str, list[date]] = defaultdict(list)
    length, again = timedelta(0), False
    for name, rest in _LINE.findall(part.text):
        if name.upper() == "RRULE":
            again = True
            continue
        seen[name.upper()] += [
            day for found in _VISIBLE.findall(rest) if (day := _date(*map(int, found))) is not None
        ]
        if name.upper() == "DURATION":
            length = max([length, *_lengths(rest)])
    name = _name_of(part)
    begin = min(seen["DTSTART"] or seen["RECURRENCE-ID"] or seen["DTEND"] or [], default=None)
    said = "it freezes on the days that are visible in it" if begin else "no day is visible in it"
    reading.remarks.append(f"“{name}” cannot be read exactly: {said}.")
    events = [Event(name, day, day + length) for day in seen["RDATE"]]
    if begin is None:
        return events
    last = max([begin, begin + length - DAY, *seen["DTEND"]])
    rule = _mended_rule(part.text) if again else ""
    if rule:
        try:
            events += expanded([_simple(name, begin, last, rule)], within, reading)
        except BROKEN:
            reading.remarks.append(f"“{name}” comes again, and nobody can say when.")
    return [*events, Event(name, begin, last)]


def _name_of(part: Part) -> str:
    found = re.search(r"^SUMMARY[^:\n]*:([^\n]*)$", part.text, re.M | re.I)
    said = ODD.sub(" ", found[1].replace("\\n", " ").replace("\\", "")).strip() if found else ""
    return said[:100] or NAMELESS


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _lengths(text: str) -> list[timedelta]:
    return [
        timedelta(days=int(number) * (7 if unit.lower() == "w" else 1))
        for number, unit in _LENGTH.findall(text)
    ]


def _mended_rule(text: str) -> str:
    """Return the rule without the parts that cannot be read: it then comes more often, not less."""
    found = re.search(r"^RRULE[^:\n]*:([^\n]*)$", text, re.M | re.I)
    kept = []
    for part in (found[1] if found else "").strip().upper().split(";"):
        try:
            icalendar.vRecur.from_ical(part if part.startswith("FREQ=") else f"FREQ=DAILY;{part}")
        except BROKEN:
            continue
        kept.append(part)
    return ";".join(kept) if any(part.startswith("FREQ=") for part in kept) else ""


def _simple(name: str, first: date, last: date, rule: str) -> Part:
    made = icalendar.Event()
    made.add("summary", name)
    made.add("dtstart", first)
    made.add("dtend", last + DAY)
    made.add("rrule", icalendar.vRecur.from_ical(rule))
    return Part(made, "", zone=None, cancelled=False)


def _merged(events: Iterable[Event], within: Horizon) -> list[Event]:
    """Return the events in order; days of one name that touch are one range, and long past ones go."""
    merged: list[Event] = []
    for one in sorted(set(events), key=lambda e: (e.rule != "", e.name, e.rule, e.first_day)):
        if not one.rule and (one.last_day < within.first or one.first_day.year > LAST_YEAR):
            continue
        before = merged[-1] if merged else None
        touches = before and not (before.rule or one.rule) and before.name == one.name
        if before and touches and one.first_day <= before.last_day + DAY:
            last = max(before.last_day, one.last_day)
            merged[-1] = Event(one.name, before.first_day, last)
        else:
            merged.append(one)
    return sorted(merged, key=lambda e: (e.first_day, e.name, e.last_day, e.rule))
