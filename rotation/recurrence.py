"""On which days does something recur? Recurrence rules (RFC 5545) and short words for them.

Pure functions over text and dates. The rules themselves are read by dateutil.
"""

import re
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from dateutil.rrule import rrulestr

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_ORDINALS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "-1": "last"}
_FORM = re.compile(r"(?:RRULE:)?(FREQ=(?:DAILY|WEEKLY|MONTHLY|YEARLY)(?:;[A-Z]+=[A-Z0-9,+-]+)*)")
_KNOWN = {
    "DAILY": ("INTERVAL",),
    "WEEKLY": ("INTERVAL", "BYDAY", "WKST"),
    "MONTHLY": ("INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"),
    "YEARLY": ("INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "WKST"),
}
_RANGES = {"INTERVAL": (1, 366), "BYMONTHDAY": (1, 31), "BYMONTH": (1, 12), "BYSETPOS": (1, 4)}
_WEEKDAY = re.compile(r"[+-]?(\d{1,2})?(?:MO|TU|WE|TH|FR|SA|SU)")
_NUMBER = re.compile(r"[+-]?\d{1,3}")
_ON_DAY = re.compile(r"(?:on )?(?:day )?(\d{1,2}|last)")
_ON_NTH = re.compile(r"(first|second|third|fourth|last) (mon|tue|wed|thu|fri|sat|sun)[a-z]*")
# Every rule counts from this Monday, so “every second week” means the same weeks for every key.
_ANCHOR = datetime(2001, 1, 1)
_YEARS = 12
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
        rrulestr(rule, dtstart=_ANCHOR)
    except ValueError as error:
        raise ValueError(f"“{said[:60]}” is no rule: {error}.") from None
    if not (_comes(_parts(rule)) and _comes_often(rule)):
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
    parts = _parts(match[1])
    _require_known(parts, match[1])
    for name, (least, most) in _RANGES.items():
        for number in parts.get(name, "").split(",") if name in parts else ():
            if not _NUMBER.fullmatch(number) or not least <= abs(int(number)) <= most:
                raise ValueError(
                    f"{name}={number} does not fit: it lies between {least} and {most}."
                )
    return match[1]


def _parts(rule: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in rule.split(";"))


def _require_known(parts: dict[str, str], said: str) -> None:
    """Refuse what ends a rule, what says when in the day, and what could be looked for in vain."""
    if len(parts) != len(said.split(";")):
        raise ValueError("A part stands there twice.")
    known = _KNOWN[parts["FREQ"]]
    for name, value in parts.items():
        if name != "FREQ" and name not in known:
            raise ValueError(
                f"{name}={value} does not belong here: with FREQ={parts['FREQ']} a rule takes "
                f"{', '.join(known)}."
            )
    numbered = any(sign.isdigit() for sign in parts.get("BYDAY", ""))
    if "BYSETPOS" in parts and ("BYDAY" not in parts or "BYMONTHDAY" in parts or numbered):
        raise ValueError("BYSETPOS does not belong here: it chooses among the days of BYDAY alone.")
    if numbered and "BYMONTHDAY" in parts:
        raise ValueError("BYMONTHDAY does not belong beside a weekday with a number.")
    if numbered and parts["FREQ"] == "YEARLY" and "BYMONTH" not in parts:
        raise ValueError("A weekday with a number needs BYMONTH here.")
    for one in filter(None, parts.get("BYDAY", "").split(",")):
        match = _WEEKDAY.fullmatch(one)
        if match is None or int(match[1] or 1) > 5:
            raise ValueError(f"BYDAY={one} does not fit: a month has five of a weekday at most.")
    if parts["FREQ"] == "WEEKLY" and numbered:
        raise ValueError("With FREQ=WEEKLY a weekday has no number.")


def _comes(parts: dict[str, str]) -> bool:
    """Return whether some day of the next forty years fits; looked at month by month, so bounded.

    The library would look for a day that never comes until the year 9999.
    """
    every = int(parts.get("INTERVAL", "1"))
    if parts["FREQ"] in ("DAILY", "WEEKLY"):
        return True
    months = {int(one) for one in parts.get("BYMONTH", "").split(",") if one} or set(range(1, 13))
    if parts["FREQ"] == "YEARLY":
        looked = [(year, month) for year in range(2001, 2041, every) for month in sorted(months)]
    else:
        steps = range(0, 480, every)
        looked = [(2001 + step // 12, step % 12 + 1) for step in steps if step % 12 + 1 in months]
    return any(_fits(year, month, parts) for year, month in looked)


def _comes_often(rule: str) -> bool:
    """Return whether it comes in any ten years; what comes more rarely would leave a key unplanned."""
    return all(next_day(rule, date(year, 1, 1)) for year in range(2001, 2062, 10))


def _fits(year: int, month: int, parts: dict[str, str]) -> bool:
    last = monthrange(year, month)[1]
    days = {int(one) for one in parts.get("BYMONTHDAY", "").split(",") if one}
    names = [one for one in parts.get("BYDAY", "").split(",") if one]
    nth = parts["FREQ"] == "MONTHLY" or "BYMONTH" in parts
    for day in range(1, last + 1):
        if days and not {day, day - last - 1} & days:
            continue
        if not names or any(_named(date(year, month, day), last, one, nth) for one in names):
            return True
    return False


def _named(day: date, last: int, name: str, nth: bool) -> bool:
    """Return whether a day is the weekday of a name such as TU, 1TU or -1TU (of its month)."""
    if _CODES[day.weekday()] != name[-2:]:
        return False
    number = name[:-2].lstrip("+")
    if not number or not nth:
        return True
    from_end = -((last - day.day) // 7 + 1)
    return int(number) in ((day.day - 1) // 7 + 1, from_end)


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
