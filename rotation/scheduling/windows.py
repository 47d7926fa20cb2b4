"""When may a key rotate by itself? Windows in the week and frozen days; pure functions over both."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rotation.scheduling.local_time import local_moment

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Says that no window counts, where a level above says one.
ANY = "any"
_FORM = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:\s*[-,]\s*[a-z]{3})*)\s+)?"
    r"(?P<opens>\d{1,2}:\d{2})\s*-\s*(?P<closes>\d{1,2}:\d{2})"
)
# How far ahead a moment is looked for; nothing sensible is closed for longer.
LOOK_AHEAD = timedelta(days=400)


@dataclass(frozen=True)
class Window:
    """Weekdays (Monday is 0) and a local time span; one that ends before it begins passes midnight."""

    days: frozenset[int]
    opens: time
    closes: time

    def __str__(self) -> str:
        names = ",".join(DAYS[day].title() for day in sorted(self.days))
        return f"{names} {self.opens:%H:%M}-{self.closes:%H:%M}"


def parse(text: str) -> Window | None:
    """Return the window that “Sat 02:00-04:00” or “Tue-Thu, Sun 22:00-02:00” means; None for “”.

    Raises ValueError with what is wrong.
    """
    if text.strip().lower() in ("", ANY):
        return None
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"“{text.strip()[:60]}” is no window: write “Tue-Thu 10:00-16:00”.")
    opens, closes = (_time(match[name]) for name in ("opens", "closes"))
    if opens == closes:
        raise ValueError("The window ends when it begins: it would never be open.")
    return Window(_days(match["days"] or "mon-sun"), opens, closes)


def _time(text: str) -> time:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 23 or minute > 59:
        raise ValueError(f"{text} is no time of day.")
    return time(hour, minute)


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in re.split(r"\s*,\s*", text):
        first, *rest = re.split(r"\s*-\s*", part)
        for name in (first, *rest):
            if name not in DAYS:
                raise ValueError(f"“{name}” is no weekday: use {', '.join(DAYS)}.")
        last = DAYS.index(rest[-1]) if rest else DAYS.index(first)
        day = DAYS.index(first)
        found.add(day)
        while day != last:
            day = (day + 1) % 7
            found.add(day)
    return frozenset(found)


def next_open(
    moment: datetime,
    window: Window | None,
    frozen: Iterable[tuple[date, date]],
    zone: ZoneInfo,
) -> datetime | None:
    """Return the first moment at or after `moment` (UTC) inside the window and on no frozen day.

    `frozen` are ranges of local days, both ends included. None when there is none in 400 days.
    """
    spans = list(frozen)
    day = moment.astimezone(zone).date() - timedelta(days=1)
    last = day + LOOK_AHEAD
    while day <= last:
        opened = _opening(day, moment, window, zone)
        if opened is not None and not _frozen(opened.astimezone(zone).date(), spans):
            return opened
        day += timedelta(days=1)
    return None


def _opening(day: date, moment: datetime, window: Window | None, zone: ZoneInfo) -> datetime | None:
    """Return when, at or after `moment`, the span that begins on this local day is open."""
    if window is None:
        opens, closes = _span(day, time(0), day + timedelta(days=1), time(0), zone)
    elif day.weekday() in window.days:
        ends_on = day if window.closes > window.opens else day + timedelta(days=1)
        opens, closes = _span(day, window.opens, ends_on, window.closes, zone)
    else:
        return None
    return max(opens, moment) if moment < closes else None


def _span(
    first: date, opens: time, last: date, closes: time, zone: ZoneInfo
) -> tuple[datetime, datetime]:
    return local_moment(first, opens, zone), local_moment(last, closes, zone)


def _frozen(day: date, spans: list[tuple[date, date]]) -> bool:
    return any(first <= day <= last for first, last in spans)
