"""When a key is due: exactly one run for each due day, in every zone, whatever its clocks do."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation.scheduling.local_time import local_moment
from rotation.scheduling.next_run import next_run

pytestmark = pytest.mark.pure

ZONES = sorted(available_timezones() - {"localtime"})
DAYS = st.dates(date(1971, 1, 1), date(2080, 12, 31))
TIMES = st.times().map(lambda moment: moment.replace(microsecond=0))
# Changes of an hour, of half an hour, of two hours, at midnight, and a day that never was.
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Santiago", date(2026, 9, 6)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("Antarctica/Troll", date(2026, 3, 29)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Africa/Casablanca", date(2026, 3, 22)),
]


def local(moment: datetime, zone: str) -> datetime:
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def exists(wanted: datetime, zone: str) -> bool:
    return local(wanted.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC), zone) == wanted


@pytest.mark.parametrize(
    ("zone", "day", "at", "utc"),
    [
        ("Europe/Berlin", date(2026, 3, 28), time(2, 30), "2026-03-28T01:30"),
        ("Europe/Berlin", date(2026, 3, 29), time(2, 30), "2026-03-29T01:00"),  # skipped
        ("Europe/Berlin", date(2026, 3, 29), time(2, 0), "2026-03-29T01:00"),
        ("Europe/Berlin", date(2026, 3, 29), time(3, 0), "2026-03-29T01:00"),
        ("Europe/Berlin", date(2026, 10, 25), time(2, 30), "2026-10-25T00:30"),  # the first one
        ("America/New_York", date(2026, 3, 8), time(2, 30), "2026-03-08T07:00"),
        ("America/New_York", date(2026, 11, 1), time(1, 30), "2026-11-01T05:30"),
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), "2026-10-03T15:30"),  # half an hour
        ("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45), "2026-04-04T14:45"),
        ("America/Santiago", date(2026, 9, 6), time(0, 0), "2026-09-06T04:00"),  # no midnight
        ("Pacific/Apia", date(2011, 12, 30), time(12, 0), "2011-12-30T10:00"),  # a day that was not
        ("Asia/Kathmandu", date(2026, 1, 1), time(0, 0), "2025-12-31T18:15"),
        ("UTC", date(2026, 1, 1), time(0, 0), "2026-01-01T00:00"),
    ],
)
def test_skipped_and_doubled_times_have_one_clear_moment(
    zone: str, day: date, at: time, utc: str
) -> None:
    """B48: a missing time runs when the gap ends, a doubled one at its first occurrence."""
    moment = local_moment(day, at, ZoneInfo(zone))
    assert moment == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@settings(max_examples=400)
@given(st.sampled_from(ZONES), DAYS, TIMES)
def test_every_local_day_has_one_moment_and_never_an_early_one(
    zone: str, day: date, at: time
) -> None:
    """B48: UTC-aware, never before the local day or the time asked for, exact where it exists."""
    moment = local_moment(day, at, ZoneInfo(zone))
    assert moment.tzinfo is UTC
    wanted, got = datetime.combine(day, at), local(moment, zone)
    assert got >= wanted
    if exists(wanted, zone):
        assert got == wanted
        assert local(moment - timedelta(hours=1), zone) != wanted  # not the second of two
    else:
        # The last second before it was on the other side of the gap.
        assert local(moment - timedelta(seconds=1), zone) < wanted


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("hour", range(24))
def test_around_a_clock_change_each_day_runs_once(zone: str, day: date, hour: int) -> None:
    """B48: four daily runs around the change, each on the next due day, none twice or left out."""
    for minute in (0, 15, 30, 45):
        four_days(zone, day, time(hour, minute))


def four_days(zone: str, day: date, at: time) -> None:
    moment = local_moment(day - timedelta(days=2), at, ZoneInfo(zone))
    expected = day - timedelta(days=2)
    for _ in range(4):
        following = next_run(moment, 1, at, zone)
        expected = local(moment, zone).date() + timedelta(days=1)
        assert following > moment
        assert timedelta(0) < following - moment < timedelta(hours=50)
        assert local(following, zone) >= datetime.combine(expected, at)
        if exists(datetime.combine(expected, at), zone):
            assert local(following, zone) == datetime.combine(expected, at)
        moment = following


@settings(max_examples=300)
@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1971, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 3650),
    TIMES,
)
def test_the_next_run_is_n_local_days_later(zone: str, last: datetime, days: int, at: time) -> None:
    """B48: counted in local days from the last run, wherever within its day that was."""
    following = next_run(last, days, at, zone)
    due = local(last, zone).date() + timedelta(days=days)
    assert following.tzinfo is UTC
    assert following > last
    assert local(following, zone) >= datetime.combine(due, at)
    assert local(following, zone).date() - due <= timedelta(days=1)


@given(st.sampled_from(ZONES), DAYS, TIMES)
def test_a_late_run_does_not_move_the_days_after_it(zone: str, day: date, at: time) -> None:
    """A run that starts hours late on its day leaves the next one where it was."""
    planned = local_moment(day, at, ZoneInfo(zone))
    late = planned + timedelta(minutes=1)
    if local(late, zone).date() == local(planned, zone).date():
        assert next_run(late, 7, at, zone) == next_run(planned, 7, at, zone)


def test_a_last_run_inside_the_doubled_hour_counts_once() -> None:
    """B48: both readings of 02:30 belong to the same local day."""
    for minute in (30, 90):
        last = datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=minute)
        assert local(last, "Europe/Berlin") == datetime(2026, 10, 25, 2, 30)
        following = next_run(last, 1, time(2, 30), "Europe/Berlin")
        assert following == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_changing_the_zone_between_runs_gives_one_run_in_the_new_zone() -> None:
    """B48: the next run follows the zone that holds now."""
    last = next_run(datetime(2026, 6, 1, 12, 0, tzinfo=UTC), 1, time(2, 30), "Europe/Berlin")
    following = next_run(last, 1, time(2, 30), "Asia/Tokyo")
    assert local(following, "Asia/Tokyo") == datetime(2026, 6, 3, 2, 30)
