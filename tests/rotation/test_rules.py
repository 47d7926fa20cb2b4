"""On which days something recurs: words, recurrence rules, and what is none."""

import itertools
import time
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation import recurrence


@pytest.mark.parametrize(
    ("said", "rule", "words"),
    [
        ("", "", None),
        ("tue", "FREQ=WEEKLY;BYDAY=TU", "every Tuesday"),
        ("Tuesday, thu", "FREQ=WEEKLY;BYDAY=TU,TH", "every Tuesday and Thursday"),
        ("15", "FREQ=MONTHLY;BYMONTHDAY=15", "on day 15 of a month"),
        ("on day 1", "FREQ=MONTHLY;BYMONTHDAY=1", "on day 1 of a month"),
        ("last", "FREQ=MONTHLY;BYMONTHDAY=-1", "on the last day of a month"),
        ("first monday", "FREQ=MONTHLY;BYDAY=1MO", "on the first Monday of a month"),
        ("rrule:freq=weekly;byday=fr", "FREQ=WEEKLY;BYDAY=FR", "every Friday"),
        (
            "FREQ=MONTHLY;INTERVAL=3;BYDAY=1TU",
            "FREQ=MONTHLY;INTERVAL=3;BYDAY=1TU",
            "by the rule FREQ=MONTHLY;INTERVAL=3;BYDAY=1TU",
        ),
    ],
)
def test_words_and_rules_are_read_alike(said, rule, words):
    assert recurrence.parse(said) == rule
    if words:
        assert recurrence.words(rule) == words


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("someday", "is no rule"),
        ("FREQ=HOURLY", "is no rule"),
        ("FREQ=DAILY;COUNT=3", "COUNT=3 does not belong here"),
        ("FREQ=DAILY;UNTIL=20300101", "UNTIL=20300101 does not belong here"),
        ("FREQ=DAILY;BYHOUR=3", "BYHOUR=3 does not belong here"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0 does not fit"),
        ("FREQ=DAILY;INTERVAL=99999", "INTERVAL=99999 does not fit"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never comes"),
        ("45", "never comes"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "does not belong here"),
        ("FREQ=DAILY;BYWEEKNO=60", "does not belong here"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=15", "does not belong beside"),
        ("FREQ=MONTHLY;BYSETPOS=300;BYDAY=MO", "BYSETPOS=300 does not fit"),
        ("FREQ=MONTHLY;INTERVAL=12;BYMONTH=2", "never comes"),
        ("FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", "never comes"),
        ("FREQ=YEARLY;BYDAY=60MO;BYMONTH=3", "BYDAY=60MO does not fit"),
        ("FREQ=YEARLY;BYDAY=60MO", "needs BYMONTH"),
        ("FREQ=WEEKLY;BYDAY=1MO", "has no number"),
        ("FREQ=DAILY;INTERVAL=2;INTERVAL=3", "twice"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX does not fit"),
        ("FREQ=DAILY;NONSENSE=1", "is no rule|does not belong"),
        ("DTSTART:20300101\nRRULE:FREQ=DAILY", "is no rule"),
        ("FREQ=DAILY" + ";BYMONTH=1" * 200, "200 characters at most"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(said, why):
    """At once, too: a day that never comes is not looked for until the year 9999."""
    began = time.process_time()
    with pytest.raises(ValueError, match=why):
        recurrence.parse(said)
    assert time.process_time() - began < 2


def test_every_second_week_means_the_same_weeks_for_every_key():
    rule = recurrence.parse("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO")
    first = recurrence.next_day(rule, date(2026, 3, 4))
    assert recurrence.next_day(rule, first) == first + timedelta(days=14)
    assert recurrence.next_day(rule, first - timedelta(days=1)) == first


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        ["mon", "sat,sun", "31", "last", "second friday", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"]
    ),
    st.dates(date(2020, 1, 1), date(2035, 12, 31)),
)
def test_the_next_day_follows_and_none_lies_between(said, day):
    rule = recurrence.parse(said)
    found = recurrence.next_day(rule, day)
    assert found is not None
    assert found > day
    assert recurrence.next_day(rule, found - timedelta(days=1)) == found


def test_the_shortest_gap_bounds_what_a_rotation_may_take():
    assert recurrence.shortest_gap(recurrence.parse("sat,sun"), date(2026, 1, 1)) == 1
    assert recurrence.shortest_gap(recurrence.parse("first monday"), date(2026, 1, 1)) == 28


def test_what_recurs_covers_as_many_days_each_time():
    found = recurrence.spans(
        "FREQ=YEARLY", date(2024, 12, 20), timedelta(days=17), date(2027, 12, 31), date(2026, 1, 3)
    )
    assert found[0] == (date(2025, 12, 20), date(2026, 1, 6))
    assert found[-1] == (date(2027, 12, 20), date(2028, 1, 6))


PARTS = (
    *("INTERVAL=2", "INTERVAL=12", "INTERVAL=7", "BYMONTH=2", "BYMONTH=4,9", "BYDAY=TU"),
    *("BYDAY=5MO", "BYDAY=-1FR", "BYMONTHDAY=31", "BYMONTHDAY=-30", "BYMONTHDAY=29,30"),
    *("BYSETPOS=3", "BYSETPOS=-4", "WKST=SU"),
)


def test_whatever_is_taken_for_a_rule_comes_and_is_found_soon():
    """Every combination of up to three parts: refused, or found without a search to the year 9999."""
    began, taken = time.process_time(), 0
    for often, count in itertools.product(("DAILY", "WEEKLY", "MONTHLY", "YEARLY"), range(4)):
        for parts in itertools.combinations(PARTS, count):
            try:
                rule = recurrence.parse(";".join([f"FREQ={often}", *parts]))
            except ValueError:
                continue
            taken += 1
            assert recurrence.next_day(rule, date(2026, 6, 1)) is not None, rule
    assert taken > 100
    assert time.process_time() - began < 60
