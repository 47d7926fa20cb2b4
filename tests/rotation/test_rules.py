"""On which days something recurs: words, recurrence rules, and what is none."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation import rules


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
    assert rules.parse(said) == rule
    if words:
        assert rules.words(rule) == words


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("someday", "is no rule"),
        ("FREQ=HOURLY", "is no rule"),
        ("FREQ=DAILY;COUNT=3", "COUNT=3 does not belong here"),
        ("FREQ=DAILY;UNTIL=20300101", "UNTIL=20300101 does not belong here"),
        ("FREQ=DAILY;BYHOUR=3", "BYHOUR=3 does not belong here"),
        ("FREQ=DAILY;INTERVAL=0", "an interval lies between"),
        ("FREQ=DAILY;INTERVAL=99999", "an interval lies between"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never comes"),
        ("45", "is no rule|never comes"),
        ("FREQ=WEEKLY;BYDAY=XX", "is no rule"),
        ("FREQ=DAILY;NONSENSE=1", "is no rule"),
        ("DTSTART:20300101\nRRULE:FREQ=DAILY", "is no rule"),
        ("FREQ=DAILY" + ";BYMONTH=1" * 200, "200 characters at most"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(said, why):
    with pytest.raises(ValueError, match=why):
        rules.parse(said)


def test_every_second_week_means_the_same_weeks_for_every_key():
    rule = rules.parse("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO")
    first = rules.next_day(rule, date(2026, 3, 4))
    assert rules.next_day(rule, first) == first + timedelta(days=14)
    assert rules.next_day(rule, first - timedelta(days=1)) == first


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        ["mon", "sat,sun", "31", "last", "second friday", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"]
    ),
    st.dates(date(2020, 1, 1), date(2035, 12, 31)),
)
def test_the_next_day_follows_and_none_lies_between(said, day):
    rule = rules.parse(said)
    found = rules.next_day(rule, day)
    assert found is not None
    assert found > day
    assert rules.next_day(rule, found - timedelta(days=1)) == found


def test_the_shortest_gap_bounds_what_a_rotation_may_take():
    assert rules.shortest_gap(rules.parse("sat,sun"), date(2026, 1, 1)) == 1
    assert rules.shortest_gap(rules.parse("first monday"), date(2026, 1, 1)) == 28


def test_what_recurs_covers_as_many_days_each_time():
    found = rules.spans(
        "FREQ=YEARLY", date(2024, 12, 20), timedelta(days=17), date(2027, 12, 31), date(2026, 1, 3)
    )
    assert found[0] == (date(2025, 12, 20), date(2026, 1, 6))
    assert found[-1] == (date(2027, 12, 20), date(2028, 1, 6))
