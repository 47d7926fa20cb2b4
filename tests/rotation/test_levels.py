"""Policies follow from levels: the installation, account, environment, application, then the key."""

import threading
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
import time_machine
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Denied
from keyvault.models import ApiKey
from rotation import recurrence
from rotation.engine import scheduler, standby_stock
from rotation.engine.manual_keys import add_standby
from rotation.models import ChangeFreeze, HumanTask, PolicyScope, Rotation, RotationPolicy
from rotation.scheduling import freezes, inheritance, planner, policies
from rotation.scheduling.next_run import following
from rotation.scheduling.policies import Wish
from tests.factories import lone_key, make_key
from tests.waiting import until

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def policy(key):
    return RotationPolicy.objects.select_related("key__current").get(key=key)


def source(key, name):
    return inheritance.explain(key, RotationPolicy.objects.filter(key=key).first())[name].source


def test_the_nearer_level_wins_setting_by_setting(people, place, key):
    inheritance.set_scope(people.owner, None, Wish(90, time(2), "Europe/Berlin"))
    inheritance.set_scope(people.owner, place.api_account, Wish(60, overlap_seconds=7200))
    inheritance.set_scope(people.owner, place.environment, Wish(window="Tue-Thu 10:00-16:00"))
    inheritance.set_scope(people.owner, place.application, Wish(30))
    found = policy(key)
    assert (found.every_days, found.at_time, found.time_zone) == (30, time(2), "Europe/Berlin")
    assert (found.overlap_seconds, found.window) == (7200, "Tue-Thu 10:00-16:00")
    assert source(key, "every_days") == f"application {place.application}"
    assert source(key, "window") == f"environment {place.environment}"
    assert source(key, "overlap_seconds") == f"account {place.api_account}"
    assert source(key, "at_time") == "the installation"
    assert source(key, "quiet_seconds") == "built in"
    policies.set_policy(people.operator, key, Wish(7, window="any"))
    found = policy(key)
    assert (found.every_days, found.window, sorted(found.own)) == (
        7,
        "any",
        ["every_days", "window"],
    )
    assert source(key, "every_days") == "this key"
    inheritance.clear_overrides(people.operator, key)
    assert policy(key).every_days == 30


def test_a_change_of_a_level_plans_its_keys_anew_at_once(vendor, people, place, key):
    other = lone_key(vendor, place, people.owner)
    inheritance.set_scope(people.owner, None, Wish(90, time(2), "UTC"))
    before = policy(key).next_run_at
    inheritance.set_scope(people.owner, place.application, Wish(10))
    assert policy(key).next_run_at == before - timedelta(days=80)
    assert policy(other).next_run_at == planner.due_at(policy(other), [])
    inheritance.set_scope(people.owner, place.application, Wish())
    assert policy(key).next_run_at == before
    inheritance.set_scope(people.owner, None, Wish())
    assert not RotationPolicy.objects.exists(), "nothing says how often any more"


def test_a_rule_replaces_a_number_of_days_and_the_other_way_round(people, place, key):
    inheritance.set_scope(people.owner, None, Wish(90))
    inheritance.set_scope(people.owner, place.environment, Wish(rule="first Monday"))
    assert policy(key).rule == "FREQ=MONTHLY;BYDAY=1MO"
    local = policy(key).next_run_at.astimezone(ZoneInfo(policy(key).time_zone))
    assert (local.weekday(), local.day <= 7) == (0, True)
    inheritance.set_scope(people.owner, place.application, Wish(45))
    assert (policy(key).rule, policy(key).every_days) == ("", 45)
    assert "every 45 days" in str(policy(key))


def test_a_key_recorded_later_follows_the_levels_too(vendor, people, place, key):
    inheritance.set_scope(people.owner, None, Wish(90))
    late = make_key(vendor, place, people.owner)
    assert not RotationPolicy.objects.filter(key=late).exists()
    inheritance.recompute_new_keys()
    assert policy(late).every_days == 90


def test_a_level_with_many_keys_is_carried_on_by_the_worker(vendor, people, place):
    keys = [make_key(vendor, place, people.owner) for _ in range(5)]
    level = inheritance.set_scope(people.owner, None, Wish(90), at_once=2)
    assert level.applied_at is None
    assert RotationPolicy.objects.count() == 2
    inheritance.apply_next_scope(at_once=2)
    inheritance.apply_next_scope(at_once=2)
    level.refresh_from_db()
    assert level.applied_at is not None
    assert RotationPolicy.objects.count() == len(keys)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(0), "Rotate every 1 to 3650 days"),
        (Wish(30, overlap_seconds=40 * 86400), "41 days is the shortest"),
        (Wish(30, time_zone="Mars/Olympus"), "no known time zone|not a known"),
        (Wish(rule="30 February"), "is no rule"),
        (Wish(30, window="Sat 02:00-02:00"), "never be open"),
        (Wish(30, missed="perhaps"), "A missed window is one of"),
        (Wish(30, jitter_minutes=5000), "The jitter is 0 to 1440"),
        (Wish(30, quiet_seconds=0), "The quiet period is"),
    ],
)
def test_an_impossible_level_is_refused_and_changes_nothing(people, place, key, wish, why):
    inheritance.set_scope(people.owner, None, Wish(90))
    with pytest.raises(BadInput, match=why):
        inheritance.set_scope(people.owner, place.environment, wish)
    assert not PolicyScope.objects.filter(environment=place.environment).exists()
    assert policy(key).every_days == 90


def test_a_level_with_a_quiet_period_that_shows_nothing_is_refused(people, place, key):
    """B118: a level is held to what the vendors of the keys below it tell apart."""
    place.api_account.settings = {"last_use_resolution_seconds": 86400}
    place.api_account.save()
    with pytest.raises(BadInput, match="172800 seconds is the shortest"):
        inheritance.set_scope(people.owner, place.environment, Wish(90, quiet_seconds=3600))
    assert not PolicyScope.objects.exists()


def test_who_may_set_which_level(people, place, key):
    for who in (people.operator, people.developer, people.viewer, people.outsider):
        for where in (None, place.api_account, place.environment, place.application):
            with pytest.raises(Denied):
                inheritance.set_scope(who, where, Wish(90))
    with pytest.raises(BadInput, match="Neither this key nor a level above it"):
        policies.set_policy(people.operator, key, Wish(window="Sat 02:00-04:00"))
    inheritance.set_scope(people.owner, None, Wish(90))
    row = AuditEvent.objects.filter(action="policy.changed").latest("seq")
    assert row.object_label == "policy of the installation"
    assert '"every_days":"90"' in row.payload.replace(" ", "")


def test_the_maximum_age_comes_before_the_rule_and_within_the_window(people, key):
    found = policies.set_policy(
        people.operator,
        key,
        Wish(365, time(3), "Europe/Berlin", 0, 1, window="Sat 02:00-04:00", max_age_days=60),
    )
    local = found.next_run_at.astimezone(BERLIN)
    age = found.next_run_at - key.created_at
    assert (local.weekday(), timedelta(days=52) < age < timedelta(days=61)) == (5, True)


def test_a_freeze_that_covers_a_maximum_age_is_refused_with_the_nearest_end(people, place, key):
    policies.set_policy(people.operator, key, Wish(20, max_age_days=30))
    first = timezone.now().date() + timedelta(days=2)
    with pytest.raises(BadInput, match=f"end it on {first + timedelta(days=28)} at the latest"):
        freezes.add_freeze(people.owner, "Long", first, first + timedelta(days=40))
    assert not ChangeFreeze.objects.exists()
    today = timezone.now().date()
    freezes.add_freeze(people.owner, "Now", today - timedelta(days=1), today + timedelta(days=25))
    with pytest.raises(BadInput, match="would be too old on"):
        policies.set_policy(people.operator, key, Wish(20, max_age_days=10))


def test_a_missed_window_waits_or_is_made_up_for_but_never_in_a_freeze(people, place, key):
    saturday = datetime(2030, 6, 1, 2, tzinfo=BERLIN)
    wish = Wish(30, time(3), "Europe/Berlin", 0, 1, window="Sat 02:00-04:00", missed="now")
    policies.set_policy(people.owner, key, wish)
    RotationPolicy.objects.update(next_run_at=saturday)
    with time_machine.travel(saturday + timedelta(days=1), tick=False):
        freeze = freezes.add_freeze(people.owner, "Fair", date(2030, 6, 2), date(2030, 6, 2))
        RotationPolicy.objects.update(next_run_at=saturday)
        assert scheduler.start_due() == 0
        freezes.end_freeze(people.owner, freeze)
        RotationPolicy.objects.update(next_run_at=saturday)
        assert scheduler.start_due() == 1, "late, but at once"
    assert Rotation.objects.count() == 1


def test_jitter_spreads_keys_and_is_the_same_each_time(vendor, people, place):
    for _ in range(6):
        make_key(vendor, place, people.owner)
    inheritance.set_scope(people.owner, None, Wish(30, time(3), "UTC", jitter_minutes=120))
    times = [one.next_run_at for one in RotationPolicy.objects.order_by("pk")]
    assert len(set(times)) == 6
    assert all(time(3) <= at.time() <= time(5) for at in times)
    inheritance.recompute_policies(ApiKey.objects.all())
    assert [one.next_run_at for one in RotationPolicy.objects.order_by("pk")] == times


def test_a_recurring_freeze_holds_each_year(people, key):
    policies.set_policy(people.operator, key, Wish(30, time(3), "UTC"))
    made = freezes.add_freeze(
        people.owner, "New Year", date(2024, 12, 20), date(2025, 1, 6), rule="FREQ=YEARLY"
    )
    with time_machine.travel(datetime(2030, 12, 24, 12, tzinfo=UTC), tick=False):
        RotationPolicy.objects.update(next_run_at=timezone.now())
        assert scheduler.start_due() == 0
        assert policy(key).next_run_at.date() == date(2031, 1, 7)
    assert "again by the rule FREQ=YEARLY" in str(made)
    with pytest.raises(BadInput, match="recur before its 9 days are over"):
        freezes.add_freeze(people.owner, "x", date(2030, 1, 1), date(2030, 1, 9), rule="mon")


CALENDAR = b"""BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Company//Freezes//EN
BEGIN:VEVENT
UID:1
SUMMARY:Black Friday
DTSTART;VALUE=DATE:20301128
DTEND;VALUE=DATE:20301203
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Year end
DTSTART:20301220T180000Z
DTEND:20310107T000000Z
RRULE:FREQ=YEARLY
END:VEVENT
END:VCALENDAR
"""


def test_freezes_come_from_a_calendar_file_all_or_none(people, place, key):
    added, remarks = freezes.add_from_calendar(people.owner, CALENDAR, place.environment)
    assert remarks == []
    assert [(one.name, one.first_day, one.last_day, one.rule) for one in added] == [
        ("Black Friday", date(2030, 11, 28), date(2030, 12, 2), ""),
        ("Year end", date(2030, 12, 20), date(2031, 1, 6), "FREQ=YEARLY"),
    ]
    bad = CALENDAR.replace(b"DTEND;VALUE=DATE:20301203", b"DTEND;VALUE=DATE:20321203")
    with pytest.raises(BadInput, match="“Black Friday”: A freeze may last 200 days"):
        freezes.add_from_calendar(people.owner, bad)
    for junk in (b"", b"hello", b"\x00\xff", b"BEGIN:VCALENDAR\nEND:VCALENDAR", CALENDAR[:200]):
        with pytest.raises(BadInput):
            freezes.add_from_calendar(people.owner, junk)
    with pytest.raises(Denied):
        freezes.add_from_calendar(people.operator, CALENDAR)
    assert ChangeFreeze.objects.count() == 2


def test_a_level_that_one_key_cannot_keep_is_told_by_the_worker(people, place, key):
    policies.set_policy(people.operator, key, Wish(overlap_seconds=20 * 86400, max_age_days=40))
    level = inheritance.set_scope(people.owner, None, Wish(90), at_once=0)
    PolicyScope.objects.filter(pk=level.pk).update(every_days=10, max_age_days=10)
    RotationPolicy.objects.filter(key=key).update(own=["overlap_seconds"])
    inheritance.apply_next_scope()
    task = HumanTask.objects.get(kind=HumanTask.Kind.FINDING, closed_at=None)
    assert "cannot be kept" in task.text
    assert policy(key).max_age_days == 40, "it keeps what it had"


def test_the_standbys_that_a_level_asks_for_are_asked_of_people_until_they_are_there(
    vendor, people, place
):
    key = make_key(vendor, place, people.owner, manual=True)
    inheritance.set_scope(people.owner, place.manual_account, Wish(90, standbys=1))
    standby_stock.ask()
    standby_stock.ask()
    task = HumanTask.objects.get(closed_at=None)
    assert task.key == key
    assert "is to have 1 standby" in task.text
    add_standby(people.owner, key, vendor.create_key(place.vendor_manual["id"])["key"])
    standby_stock.ask()
    task.refresh_from_db()
    assert task.closed_at is not None
    with pytest.raises(BadInput, match="Standbys are 0 to 5"):
        inheritance.set_scope(people.owner, None, Wish(90, standbys=9))


def waits_for_the_lock(act):
    """Return whether `act` waits while another transaction writes policies, and ends well after it."""
    failed = []

    def run():
        try:
            act()
        except DatabaseError as error:
            failed.append(error)
        connections.close_all()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        inheritance.lock_policies()
        thread.start()
        until(_somebody_waits, 2.5, "the other to wait")
    thread.join()
    return not failed


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return cursor.fetchone()


def test_no_two_write_policies_at_once_so_that_no_setting_is_lost(people, place, key):
    """A level that is carried to its keys would write over what a key was just given for itself."""
    policies.set_policy(people.operator, key, Wish(20))
    assert waits_for_the_lock(lambda: policies.set_policy(people.operator, key, Wish(7)))
    assert waits_for_the_lock(lambda: inheritance.set_scope(people.owner, None, Wish(90)))
    assert waits_for_the_lock(lambda: inheritance.recompute_policies(ApiKey.objects.all()))
    assert waits_for_the_lock(lambda: inheritance.clear_overrides(people.operator, key))
    assert policy(key).every_days == 90


def test_a_freeze_can_always_be_ended_whatever_a_policy_cannot_keep(people, place, key):
    policies.set_policy(people.operator, key, Wish(40, max_age_days=50))
    today = timezone.now().date()
    freeze = freezes.add_freeze(people.owner, "Fair", today, today)
    RotationPolicy.objects.update(
        overlap_seconds=90 * 86400, own=["max_age_days", "overlap_seconds"]
    )
    freezes.end_freeze(people.owner, freeze)
    assert not ChangeFreeze.objects.exists()
    task = HumanTask.objects.get(kind=HumanTask.Kind.FINDING, closed_at=None)
    assert "cannot be kept" in task.text
    RotationPolicy.objects.update(overlap_seconds=0)
    inheritance.recompute_policies(ApiKey.objects.all(), strict=False)
    task.refresh_from_db()
    assert task.closed_at is not None, "it is answered once it can be kept"


@pytest.mark.parametrize("year", [b"0001", b"9999"])
def test_a_calendar_of_another_age_is_refused_and_breaks_nothing(people, place, year):
    with pytest.raises(BadInput):
        freezes.add_from_calendar(people.owner, CALENDAR.replace(b"2030", year))


class Timing:
    """A policy's timing without a database."""

    key_id = 7
    window = ""

    def __init__(self, **said):
        vars(self).update(said)


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31)),
    st.sampled_from(sorted(available_timezones())),
    st.times(),
    st.sampled_from(["", *map(recurrence.parse, ["tue", "last", "FREQ=DAILY;INTERVAL=3"])]),
    st.integers(1, 400),
    st.integers(0, 1440),
    st.one_of(st.none(), st.integers(1, 400)),
)
def test_the_following_run_comes_later_and_by_its_age(last, zone, at, rule, days, jitter, age):
    """Over all zones and the clock changes of 2020 to 2035."""
    last = last.replace(tzinfo=UTC)
    timing = Timing(
        every_days=days,
        rule=rule,
        at_time=at,
        time_zone=zone,
        jitter_minutes=jitter,
        max_age_days=age,
    )
    found = following(last, timing)
    assert found is not None
    assert found > last
    assert found == following(last, timing)
    if age:
        assert found <= last + timedelta(days=age + 2)
    elif not rule:
        assert abs(found - last - timedelta(days=days)) < timedelta(days=3)
