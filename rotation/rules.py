"""On which days does something recur? Recurrence rules (RFC 5545) and short words for them.

Pure functions over text and dates. The rules themselves are read by dateutil.
"""

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from dateutil.rrule import rrulestr

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_ORDINALS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "-1": "last"}
_FORM = re.compile(r"(?:RRULE:)?(FREQ=(?:DAILY|WEEKLY|MONTHLY|YEARLY)(?:;[A-Z]+=[A-Z0-9,+-]+)*)")
# Whatever says when in the day, or that the rule ends, is no part of a rotation's rhythm.
_FOREIGN = ("COUNT", "UNTIL", "BYHOUR", "BYMINUTE", "BYSECOND", "BYEASTER")
_ON_DAY = re.compile(r"(?:on )?(?:day )?(\d{1,2}|last)")
_ON_NTH = re.compile(r"(first|second|third|fourth|last) (mon|tue|wed|thu|fri|sat|sun)[a-z]*")
# Every rule counts from this Monday, so “every second week” means the same weeks for every key.
_ANCHOR = datetime(2001, 1, 1)
_YEARS = 12
_MOST_APART = 366
_LONGEST = 200


def parse(text: str) -> str:
    """Return the rule that “Tue, Thu”, “first Monday”, “15” or an RRULE means; "" for nothing.

    Raises ValueError with what is wrong.
    """
    said = " ".join(text.split())
    if not said:
        return ""
    if len(said) > _LONGEST:
        raise ValueError(f"A rule has {_LONGEST} characters at most, this one has {len(said)}.")
    rule = _by_words(said.lower()) or _plain(said.upper())
    try:
        found = next_day(rule, _ANCHOR.date())
    except ValueError as error:
        raise ValueError(f"“{said[:60]}” is no rule: {error}.") from None
    if found is None:
        raise ValueError(f"“{said[:60]}” never comes: no day of the next years fits it.")
    return rule


def _by_words(said: str) -> str:
    if match := _ON_DAY.fullmatch(said):
        return f"FREQ=MONTHLY;BYMONTHDAY={'-1' if match[1] == 'last' else int(match[1])}"
    if match := _ON_NTH.fullmatch(said):
        place = next(code for code, word in _ORDINALS.items() if word == match[1])
        return f"FREQ=MONTHLY;BYDAY={place}{_CODES[_DAYS.index(match[2])]}"
    days = [part.strip()[:3] for part in said.split(",")]
    if all(day in _DAYS for day in days):
        return "FREQ=WEEKLY;BYDAY=" + ",".join(_CODES[_DAYS.index(day)] for day in days)
    return ""


def _plain(said: str) -> str:
    match = _FORM.fullmatch(said.replace(" ", ""))
    if match is None:
        raise ValueError(
            f"“{said[:60]}” is no rule: write “Tue, Thu”, “first Monday”, “15”, or an RRULE such as "
            "FREQ=MONTHLY;BYDAY=1TU."
        )
    for part in match[1].split(";"):
        name, _, value = part.partition("=")
        if name == "INTERVAL" and not (value.isdigit() and 1 <= int(value) <= _MOST_APART):
            raise ValueError(f"{part} does not fit: an interval lies between 1 and {_MOST_APART}.")
        if name in _FOREIGN:
            raise ValueError(f"{part} does not belong here: a rule says on which days, for ever.")
    return match[1]


def next_day(rule: str, after: date) -> date | None:
    """Return the first day of the rule that follows `after`; None when none comes in ten years."""
    for year in range(after.year, after.year + _YEARS):
        for day in _days_of(rule, year):
            if day > after:
                return day
    return None


@lru_cache(maxsize=2048)
def _days_of(rule: str, year: int) -> tuple[date, ...]:
    last = datetime(year, 12, 31)
    # The end bounds the search: a rule that fits no day would be looked for until the year 9999.
    found = rrulestr(rule, dtstart=_ANCHOR).replace(until=last)
    return tuple(at.date() for at in found.between(datetime(year, 1, 1), last, inc=True))


def shortest_gap(rule: str, today: date) -> int:
    """Return the smallest number of days between two days of the rule, in the next two years."""
    days = [day for year in (today.year, today.year + 1) for day in _days_of(rule, year)]
    gaps = [(late - early).days for early, late in pairwise(days)]
    return min(gaps, default=365)


def spans(
    rule: str, first: date, length: timedelta, until: date, since: date
) -> list[tuple[date, date]]:
    """Return the ranges of days of something that began on `first` and recurs; both ends count."""
    begin = datetime.combine(first, time(0))
    last = datetime.combine(until, time(0))
    found = rrulestr(rule, dtstart=begin).replace(until=last)
    early = datetime.combine(since, time(0)) - length
    return [(at.date(), at.date() + length) for at in found.between(early, last, inc=True)]


def words(rule: str) -> str:
    """Return the rule in words, where it is a simple one; else the rule itself."""
    parts = dict(part.split("=", 1) for part in rule.split(";"))
    if set(parts) == {"FREQ", "BYMONTHDAY"} and parts["FREQ"] == "MONTHLY":
        return _of_month(parts["BYMONTHDAY"], rule)
    if set(parts) != {"FREQ", "BYDAY"}:
        return f"by the rule {rule}"
    days = parts["BYDAY"].split(",")
    if parts["FREQ"] == "WEEKLY" and all(day in _CODES for day in days):
        return "every " + " and ".join(_NAMES[_CODES.index(day)] for day in days)
    if parts["FREQ"] == "MONTHLY" and len(days) == 1 and days[0][:-2] in _ORDINALS:
        return f"on the {_ORDINALS[days[0][:-2]]} {_NAMES[_CODES.index(days[0][-2:])]} of a month"
    return f"by the rule {rule}"


def _of_month(day: str, rule: str) -> str:
    if day == "-1":
        return "on the last day of a month"
    return f"on day {day} of a month" if day.isdigit() else f"by the rule {rule}"
