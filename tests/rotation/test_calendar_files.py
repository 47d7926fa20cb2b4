"""Which days a calendar file freezes: as real producers write it, and however broken (P4-P8, B120)."""

import time
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation.scheduling.ics import Unreadable, read
from rotation.scheduling.ics_days import horizon

TODAY = date(2026, 11, 27)
SINGLE = "SUMMARY:S\nUID:a\n"
DAY = "DTSTART;VALUE=DATE:20261204"
XMAS = "DTSTART;VALUE=DATE:20261224"
WEEKLY = SINGLE + DAY + "\nRRULE:FREQ=WEEKLY;COUNT=3"


def calendar(*events: str, head: str = "") -> bytes:
    """Return a calendar of these events, each with a UID and a title unless it has its own."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", *head.split()]
    for number, event in enumerate(events):
        named = event if "UID:" in event else f"UID:{number}\nSUMMARY:E{number}\n{event}"
        lines += ["BEGIN:VEVENT", *named.split("\n"), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def reading(content, zones=("UTC",)):
    return read(content, horizon(TODAY, [ZoneInfo(one) for one in zones]))


def days(found):
    """Return the frozen days, of a rule those of its first time alone."""
    return {
        f"{one.first_day + timedelta(days=n):%m%d}"
        for one in found.events
        for n in range((one.last_day - one.first_day).days + 1)
    }


def between(first, last):
    return {f"12{day:02}" for day in range(first, last + 1)}


READ = {
    "P4 rdate": (calendar(DAY + "\nRDATE;VALUE=DATE:20261215,20261224"), {"1204", "1215", "1224"}),
    "rdate period": (
        calendar("DTSTART:20261204T090000Z\nDTEND:20261204T100000Z\nRDATE;VALUE=PERIOD:20261210T090000Z/20261212T100000Z"),
        {"1204"} | between(10, 12),
    ),
    "P6 Los Angeles": (
        calendar("DTSTART:20261225T020000Z\nDURATION:PT5H", head="X-WR-TIMEZONE:America/Los_Angeles"),
        {"1224"},
    ),
    "P6 Berlin": (
        calendar("DTSTART:20261223T230000Z\nDTEND:20261226T230000Z", head="X-WR-TIMEZONE:Europe/Berlin"),
        between(24, 26),
    ),
    "utc": (calendar("DTSTART:20261224T200000Z"), {"1224"}),
    "floating": (calendar("DTSTART:20261224T180000\nDTEND:20261225T000000"), {"1224"}),
    "windows zone": (calendar("DTSTART;TZID=W. Europe Standard Time:20261224T180000"), {"1224"}),
    "unknown zone": (calendar("DTSTART;TZID=Ours:20261224T180000\nDURATION:PT2H"), {"1224"}),
    "P7 exdate": (calendar(WEEKLY + "\nEXDATE;VALUE=DATE:20261211"), {"1204", "1218"}),
    "P7 moved": (
        calendar(WEEKLY, SINGLE + "RECURRENCE-ID;VALUE=DATE:20261211\nDTSTART;VALUE=DATE:20261213"),
        {"1204", "1213", "1218"},
    ),
    "this and future": (
        calendar(
            WEEKLY,
            SINGLE + "RECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20261211\nDTSTART;VALUE=DATE:20261212",
        ),
        {"1204", "1212", "1219"},
    ),
    "P7 cancelled date": (
        calendar(WEEKLY, SINGLE + "RECURRENCE-ID;VALUE=DATE:20261211\nDTSTART:20261211\nSTATUS:CANCELLED"),
        {"1204", "1218"},
    ),
    "P7 cancelled": (calendar(DAY + "\nSTATUS:CANCELLED"), set()),
    "P7 cancel": (calendar("DTSTART;VALUE=DATE:20261204", head="METHOD:CANCEL"), set()),
    "P7 sequence": (
        calendar(*(SINGLE + f"SEQUENCE:{n}\nDTSTART;VALUE=DATE:2026120{4 + n}" for n in (0, 1))),
        {"1205"},
    ),
    "same sequence": (
        calendar(*(SINGLE + f"DTSTART;VALUE=DATE:2026120{n}" for n in (4, 6))),
        {"1204", "1206"},
    ),
    "cancelled by sequence": (
        calendar(
            SINGLE + "SEQUENCE:0\nDTSTART;VALUE=DATE:20261204",
            SINGLE + "SEQUENCE:1\nSTATUS:CANCELLED\nDTSTART;VALUE=DATE:20261204",
        ),
        set(),
    ),
    "P8 until": (
        calendar(DAY + "\nRRULE:FREQ=WEEKLY;UNTIL=20261231;BYDAY=FR"),
        {"1204", "1211", "1218", "1225"},
    ),
    "P8 until in utc": (
        calendar("DTSTART;TZID=Europe/Berlin:20261204T220000\nDURATION:PT4H\nRRULE:FREQ=WEEKLY;UNTIL=20261211T210000Z"),
        {"1204", "1205", "1211", "1212"},
    ),
    "P8 count": (calendar(WEEKLY), {"1204", "1211", "1218"}),
    "P8 1975": (calendar("DTSTART;VALUE=DATE:19750304\nRRULE:FREQ=YEARLY"), {"0304"}),
    "long over": (calendar("DTSTART;VALUE=DATE:20200304"), set()),
    "P8 two rules": (
        calendar(DAY + "\nRRULE:FREQ=WEEKLY;COUNT=2\nRRULE:FREQ=MONTHLY;COUNT=2"),
        {"1204", "1211", "0104"},
    ),
    "P8 two calendars": (
        calendar(DAY) + calendar("DTSTART;VALUE=DATE:20261208"),
        {"1204", "1208"},
    ),
    "free all day": (calendar(DAY + "\nTRANSP:TRANSPARENT"), {"1204"}),
    "an odd alarm": (calendar(DAY + "\nBEGIN:VALARM\nTRIGGER:x\nEND:VALARM"), {"1204"}),
    "an odd line": (calendar(DAY + "\nno line at all"), {"1204"}),
    "bom and lf": (b"\xef\xbb\xbf" + calendar(DAY).replace(b"\r\n", b"\n"), {"1204"}),
    "latin-1": (calendar(DAY).replace(b"E0", b"F\xeate"), {"1204"}),
    "empty": (calendar(), set()),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_real_producers_write_is_read_exactly(name):
    content, frozen = READ[name]
    found = reading(content)
    assert days(found) == frozen
    assert found.remarks == []


NAMED = {
    "P5 dtend": (calendar(XMAS + "\nDTEND;VALUE=DATE:2026-12-27"), between(24, 27)),
    "P5 24 o'clock": (calendar("DTSTART:20261225T000000Z\nDTEND:20261227T240000Z"), between(25, 27)),
    "P5 duration": (calendar(XMAS + "\nDURATION:3 days"), between(24, 26)),
    "P5 rule": (calendar(XMAS + "\nRRULE:FREQ=YEARLY;INTERVAL=x"), {"1224"}),
    "rdate": (calendar(DAY + "\nRDATE;VALUE=DATE:20261215,2026-12-24"), {"1204", "1215", "1224"}),
    "exdate": (calendar(DAY + "\nRRULE:FREQ=WEEKLY;COUNT=2\nEXDATE:x"), {"1204", "1211"}),
    "no rule": (calendar(DAY + "\nRRULE:WHENEVER"), {"1204"}),
    "P8 no dtstart": (calendar("DTEND;VALUE=DATE:20261204"), {"1204"}),
    "nothing visible": (calendar("DTSTART:soon"), set()),
    "free hours": (calendar("DTSTART:20261204T090000Z\nTRANSP:TRANSPARENT"), set()),
    "hourly": (calendar("DTSTART:20261228T000000\nRRULE:FREQ=HOURLY;UNTIL=20261230T000000"), between(28, 30)),
    "another age": (calendar("DTSTART;VALUE=DATE:99991204"), set()),
    "unknown calendar zone": (
        calendar("DTSTART:20261224T200000Z\nSUMMARY:E0\nUID:1", head="X-WR-TIMEZONE:E0/Nowhere"),
        {"1224"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_read_exactly_is_frozen_where_it_is_visible_and_named(name):
    content, frozen = NAMED[name]
    found = reading(content)
    assert days(found) >= frozen
    assert len(found.remarks) == 1
    assert "E0" in found.remarks[0]
    beside = reading(content.replace(b"END:VCALENDAR", calendar("UID:9\nDTSTART:20261209")[30:]))
    assert "1209" in days(beside), "what stands beside it counts"


NEW_YORK = "DTSTART;TZID=America/New_York:20261204T200000\nRRULE:FREQ=DAILY;UNTIL="
ENDS = {
    "a day": (NEW_YORK + "20261206", between(4, 6), "UTC"),
    "a day, in the morning": (NEW_YORK.replace("T20", "T09") + "20261206", between(4, 6), "UTC"),
    "a local time": (NEW_YORK + "20261206T200000", between(4, 6), "UTC"),
    "a local time before the last": (NEW_YORK + "20261206T195959", between(4, 5), "UTC"),
    "far in the west": (
        NEW_YORK.replace("America/New_York", "Pacific/Honolulu") + "20261206",
        between(4, 6),
        "UTC",
    ),
    "far in the east": (
        NEW_YORK.replace("America/New_York", "Pacific/Auckland").replace("T20", "T00") + "20261206",
        between(4, 6),
        "UTC",
    ),
    "the hour that comes twice": (
        "DTSTART;TZID=America/New_York:20261030T013000\nRRULE:FREQ=DAILY;UNTIL=20261101T013000",
        {"1030", "1031", "1101"},
        "UTC",
    ),
    "beside others": (
        NEW_YORK + "20261206\nEXRULE:FREQ=WEEKLY;UNTIL=20261206\nRDATE;TZID=America/New_York:20261220T200000",
        {"1220"} | between(4, 6),
        "UTC",
    ),
    "floating, a day": ("DTSTART:20261204T200000\nRRULE:FREQ=DAILY;UNTIL=20261206", between(4, 6), "UTC"),
    "floating, in UTC": (
        "DTSTART:20261204T200000\nRRULE:FREQ=DAILY;UNTIL=20261206T110000Z",
        between(4, 6),
        "Asia/Tokyo",
    ),
    "in UTC, a day": ("DTSTART:20261204T200000Z\nRRULE:FREQ=DAILY;UNTIL=20261206", between(4, 6), "UTC"),
    "in UTC, local": (
        "DTSTART:20261204T200000Z\nRRULE:FREQ=DAILY;UNTIL=20261206T150000",
        between(4, 6),
        "America/New_York",
    ),
    "all day, in UTC": (DAY + "\nRRULE:FREQ=DAILY;UNTIL=20261207T010000Z", between(4, 7), "UTC"),
    "all day, midnight in the east": (
        DAY + "\nRRULE:FREQ=DAILY;UNTIL=20261205T110000Z",
        between(4, 6),
        "Pacific/Auckland",
    ),
    "an unknown zone": (
        "DTSTART;TZID=Ours:20261204T200000\nRRULE:FREQ=DAILY;UNTIL=20261206T200000Z",
        between(4, 6),
        "UTC",
    ),
    "the end of time": (
        "DTSTART;TZID=America/New_York:20261204T200000\nRRULE:FREQ=WEEKLY;UNTIL=99991231;BYMONTH=12;INTERVAL=60",
        {"1204"},
        "UTC",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_an_end_that_the_standard_forbids_is_read_late_and_named(name):
    """P8: an UNTIL that is a day or a local time counted as UTC and ended a series too early, unsaid."""
    event, frozen, zone = ENDS[name]
    found = reading(calendar(event), [zone])
    assert days(found) == frozen
    assert len(found.remarks) == 1
    assert "“E0” ends by UNTIL=" in found.remarks[0]


@pytest.mark.parametrize(
    ("event", "frozen"),
    [
        (NEW_YORK + "20261207T010000Z", between(4, 6)),
        (NEW_YORK.replace("UNTIL=", "COUNT=3"), between(4, 6)),
        ("DTSTART:20261204T200000Z\nRRULE:FREQ=DAILY;UNTIL=20261206T200000Z", between(4, 6)),
        ("DTSTART:20261204T200000\nRRULE:FREQ=DAILY;UNTIL=20261206T200000", between(4, 6)),
        (
            DAY + "\nRRULE:FREQ=DAILY;UNTIL=20261206\nEXDATE;TZID=America/New_York:20261205T000000",
            {"1204", "1206"},
        ),
        (
            "DTSTART:20261204T200000\nRRULE:FREQ=DAILY;UNTIL=20261206T200000\n"
            "RDATE;TZID=America/New_York:20261220T200000",
            {"1220"} | between(4, 6),
        ),
    ],
)
def test_an_end_in_the_form_of_the_standard_is_exact_whatever_stands_beside_it(event, frozen):
    found = reading(calendar(event))
    assert days(found) == frozen
    assert found.remarks == []


def test_the_zone_of_a_calendar_counts_for_the_end_of_a_series_and_hours_for_their_day():
    days_off = calendar(
        DAY + "\nRRULE:FREQ=DAILY;UNTIL=20261205T110000Z", head="X-WR-TIMEZONE:Pacific/Auckland"
    )
    assert days(reading(days_off)) == between(4, 6)
    hourly = NEW_YORK.replace("DAILY", "HOURLY") + "20261206T080000Z"
    assert days(reading(calendar(hourly))) == between(4, 6), (
        "its last hour is 03:00, its first 20:00"
    )


def test_a_time_in_utc_alone_counts_in_each_zone_that_is_used():
    """B120: 24 December, 20:00 in New York froze the 25th alone."""
    content = calendar("DTSTART:20261225T010000Z\nDTEND:20261225T020000Z")
    assert days(reading(content, ["America/New_York"])) == {"1224", "1225"}
    assert days(reading(content, ["Asia/Tokyo"])) == {"1225"}


def test_titles_are_made_visible_and_repeated_days_are_one_range():
    """P8, B120: a blank title, a line break or a sign that turns the writing refused the whole file."""
    odd = "UID:1\nSUMMARY:a\\nb\u202ec\nDTSTART;VALUE=DATE:20261204"
    blank = "UID:2\nSUMMARY:\nDTSTART;VALUE=DATE:20261206"
    names = [one.name for one in reading(calendar(odd, blank)).events]
    assert names == ["a b c", "From a calendar"]
    found = reading(calendar(DAY + "\nRRULE:FREQ=DAILY;COUNT=20"))
    assert [(one.first_day.day, one.last_day.day) for one in found.events] == [(4, 23)]
    many = calendar(*["DTSTART;VALUE=DATE:20200304"] * 600, "DTSTART;VALUE=DATE:20261204")
    assert days(reading(many)) == {"1204"}, "what is over is not counted"


def test_an_endless_series_stays_a_rule_and_others_say_how_far_they_are_counted():
    yearly = reading(calendar(XMAS + "\nRRULE:FREQ=YEARLY"))
    assert [one.rule for one in yearly.events] == ["FREQ=YEARLY"]
    but = reading(calendar(DAY + "\nRRULE:FREQ=WEEKLY\nEXDATE;VALUE=DATE:20261211"))
    assert but.endless == ["E0"]
    assert but.events[-1].first_day >= date(2028, 12, 20)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"<html></html>", b"\x00\xff", calendar("DTSTART:20261204")[:-9]]
)
def test_what_is_no_calendar_or_was_cut_off_is_refused(content):
    with pytest.raises(Unreadable):
        reading(content)


def test_a_rule_that_never_comes_is_not_looked_for_for_ever():
    never = DAY + "\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=3"
    often = "DTSTART:20261204T000000\nRRULE:FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7;BYMINUTE=0,10,20,30"
    begun = time.monotonic()
    found = reading(calendar(never, often))
    assert time.monotonic() - begun < 60
    assert any("too often" in one for one in found.remarks)
    assert found.events[-1].last_day == date(2028, 12, 31)


VALUES = [
    "20261204",
    "20261204T100000Z",
    "20261204T230000",
    "2026-12-04",
    "20261204T990000",
    "x",
    "",
]
PIECES = {
    "DTEND": [*VALUES, "20261206", "20261201"],
    "DURATION": ["P1D", "PT5H", "-P1D", "3 days", ""],
    "RDATE": ["20261215", "20261215,20261220", "20261215T100000Z/PT1H", "2026-12-15", "20261215,x"],
    "RRULE": [
        "FREQ=WEEKLY;COUNT=2", "FREQ=WEEKLY;UNTIL=20261231", "FREQ=YEARLY", "FREQ=DAILY;COUNT=x",
        "FREQ=MONTHLY;BYDAY=9XX", "FREQ=HOURLY;COUNT=2", "COUNT=2", "FREQ=WEEKLY;UNTIL=2026-12-31",
    ],
    "SEQUENCE": ["0", "1", "x"],
    "SUMMARY": ["", "\\n", "b"],
}  # fmt: skip
ONE = st.tuples(
    st.sampled_from(
        ["DTSTART", "DTSTART;VALUE=DATE", "DTSTART;TZID=Europe/Berlin", "DTSTART;TZID=No"]
    ),
    st.sampled_from(VALUES),
    st.dictionaries(st.sampled_from(sorted(PIECES)), st.integers(0, 9), max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(ONE, min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["", "X-WR-TIMEZONE:Asia/Tokyo"]),
)
def test_each_day_that_is_visible_in_a_file_is_frozen_or_named(events, same_uid, head):
    """B120: whatever is broken, the first day of each event is frozen, or its title is in a remark."""
    texts, visible = [], []
    for number, (name, value, more) in enumerate(events):
        lines = [f"UID:{0 if same_uid else number}", f"{name}:{value}"]
        lines += [f"{key}:{PIECES[key][n % len(PIECES[key])]}" for key, n in more.items()]
        texts.append("\n".join([*lines, *([] if "SUMMARY" in more else [f"SUMMARY:E{number}"])]))
        visible.append(value[:10].replace("-", "")[:8] == "20261204")
    found = reading(calendar(*texts, head=head))
    if any(visible) and not (same_uid and any("SEQUENCE" in more for *_, more in events)):
        assert days(found) & {"1203", "1204", "1205"}, (texts, found)
    if not all(visible):
        assert found.remarks, (texts, found)
    assert all(one.first_day <= one.last_day for one in found.events)
