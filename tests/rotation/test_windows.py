"""When a key may rotate by itself: windows, freezes, and what ends before its turn."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
import time_machine
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from keyvault.core.errors import BadInput, Denied
from rotation.engine import scheduler
from rotation.engine.lifecycle import start
from rotation.models import ChangeFreeze, HumanTask, Reason, Rotation, RotationPolicy
from rotation.scheduling import freezes, policies, windows
from rotation.scheduling.policies import Wish
from tests.api_client import Api
from tests.factories import make_key

BERLIN = ZoneInfo("Europe/Berlin")
SATURDAY = "Sat 02:00-04:00"


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "days", "opens", "closes"),
    [
        ("Sat 02:00-04:00", {5}, time(2), time(4)),
        ("tue-thu 10:00-16:00", {1, 2, 3}, time(10), time(16)),
        ("Fri-Mon 22:00-02:00", {4, 5, 6, 0}, time(22), time(2)),
        ("Mon, Wed-Thu, Sun 9:30 - 10:00", {0, 2, 3, 6}, time(9, 30), time(10)),
        ("00:00-23:59", set(range(7)), time(0), time(23, 59)),
    ],
)
def test_a_window_is_read_as_people_write_it(text, days, opens, closes):
    assert windows.parse(text) == windows.Window(frozenset(days), opens, closes)
    assert windows.parse(str(windows.parse(text))) == windows.parse(text)


@pytest.mark.pure
@pytest.mark.parametrize(
    "odd", ["Sat", "Sat 2-4", "Foo 02:00-04:00", "Sat 02:00-02:00", "Sat 25:00-26:00", "x" * 80]
)
def test_what_is_no_window_is_refused_with_the_reason(odd):
    with pytest.raises(ValueError, match=r"is no|ends when"):
        windows.parse(odd)


def local(*parts):
    return datetime(*parts, tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("moment", "window", "frozen", "expected"),
    [
        (local(2026, 11, 25, 12), None, [], local(2026, 11, 25, 12)),
        (local(2026, 11, 25, 12), SATURDAY, [], local(2026, 11, 28, 2)),
        (local(2026, 11, 28, 3), SATURDAY, [], local(2026, 11, 28, 3)),
        (local(2026, 11, 28, 4), SATURDAY, [], local(2026, 12, 5, 2)),
        (local(2026, 11, 28, 1), "Fri 22:00-02:00", [], local(2026, 11, 28, 1)),
        (
            local(2026, 12, 24, 12),
            None,
            [(date(2026, 12, 20), date(2027, 1, 6))],
            local(2027, 1, 7),
        ),
        (
            local(2026, 12, 18, 12),
            SATURDAY,
            [(date(2026, 12, 19), date(2027, 1, 6))],
            local(2027, 1, 9, 2),
        ),
        # The clocks go forward at 02:00: the window begins when that hour is over.
        (local(2027, 3, 27, 12), "Sun 02:00-04:00", [], local(2027, 3, 28, 3)),
    ],
)
def test_the_next_open_moment(moment, window, frozen, expected):
    """B78: never outside the window, never on a frozen day; a missed window is the next one."""
    assert windows.next_open(moment, windows.parse(window or ""), frozen, BERLIN) == expected


@pytest.mark.pure
def test_a_window_that_a_freeze_covers_for_ever_has_no_next_moment():
    frozen = [(date(2026, 1, 1), date(2028, 1, 1))]
    assert windows.next_open(local(2026, 6, 1, 0), None, frozen, BERLIN) is None


@pytest.mark.pure
@settings(max_examples=150, deadline=None)
@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31)),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    opens=st.times(),
    closes=st.times(),
    zone=st.sampled_from(sorted(available_timezones())),
)
def test_in_every_zone_the_next_moment_is_open_and_not_before(moment, days, opens, closes, zone):
    opens, closes = opens.replace(second=0, microsecond=0), closes.replace(second=0, microsecond=0)
    if opens == closes:
        return
    moment, where = moment.replace(tzinfo=UTC), ZoneInfo(zone)
    window = windows.Window(days, opens, closes)
    found = windows.next_open(moment, window, [], where)
    assert found is not None
    assert moment <= found <= moment + timedelta(days=9)
    assert windows.next_open(found, window, [], where) == found


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def wish(**changes):
    plain = {"every_days": 30, "at_time": time(3), "time_zone": "Europe/Berlin"}
    return Wish(**{**plain, "overlap_seconds": 0, "quiet_seconds": 1, **changes})


def due(key, at):
    RotationPolicy.objects.filter(key=key).update(next_run_at=at)


def test_nothing_starts_outside_its_window_and_a_missed_one_moves_to_the_next(people, key):
    """B78: the worker was down on Saturday night; on Sunday nothing is made up for."""
    policies.set_policy(people.owner, key, wish(window=SATURDAY))
    with time_machine.travel(local(2030, 6, 2, 12), tick=False):  # a Sunday
        due(key, local(2030, 6, 1, 2))
        assert scheduler.start_due() == 0
        assert RotationPolicy.objects.get().next_run_at == local(2030, 6, 8, 2)
    with time_machine.travel(local(2030, 6, 8, 2, 30), tick=False):
        assert scheduler.start_due() == 1
    planned = RotationPolicy.objects.get().next_run_at.astimezone(BERLIN)
    assert (planned.weekday(), planned.hour) == (5, 2)
    assert Rotation.objects.count() == 1


def test_a_freeze_over_new_year_holds_and_its_end_plans_anew(people, place, key):
    """B78: everywhere or in one environment; ending it early is seen at once."""
    policies.set_policy(people.owner, key, wish())
    due(key, local(2030, 12, 24, 3))
    with time_machine.travel(local(2030, 12, 20, 12), tick=False):
        freeze = freezes.add_freeze(
            people.owner, "New Year", date(2030, 12, 20), date(2031, 1, 6), place.environment
        )
        due(key, local(2030, 12, 20, 3))
        assert scheduler.start_due() == 0
        assert RotationPolicy.objects.get().next_run_at == local(2031, 1, 7)
        assert start(people.operator, key)[1], "a person may"
        Rotation.objects.update(step="cancelled", finished_at=timezone.now())
        freezes.end_freeze(people.owner, freeze)
        due(key, local(2030, 12, 20, 3))
        assert scheduler.start_due() == 1
    assert not ChangeFreeze.objects.exists()


def test_a_freeze_elsewhere_holds_nothing_here(people, place, key):
    policies.set_policy(people.owner, key, wish())
    today = timezone.now().date()
    freezes.add_freeze(people.owner, "Production", today, today, place.production)
    due(key, timezone.now() - timedelta(minutes=1))
    assert scheduler.start_due() == 1


def test_manual_only_never_starts_by_itself(people, key):
    """B78: switched off is off, whatever is due."""
    policies.set_policy(people.owner, key, wish(enabled=False))
    due(key, timezone.now() - timedelta(days=3))
    assert scheduler.start_due() == 0


def test_a_key_that_ends_before_its_window_is_a_persons_to_decide(people, key):
    """B78: warned in time, asked, and nothing picked silently."""
    key.current.expires_at = timezone.now() + timedelta(days=10)
    key.current.save()
    after = timezone.now().astimezone(BERLIN) + timedelta(days=11)
    policies.set_policy(
        people.owner, key, wish(window=f"{windows.DAYS[after.weekday()]} 02:00-04:00")
    )
    task = HumanTask.objects.get(kind=HumanTask.Kind.FINDING, closed_at=None)
    assert task.key == key
    assert "Rotate it now, or change the window" in task.text
    assert scheduler.start_due() == 0
    policies.set_policy(people.owner, key, wish(every_days=5))
    task.refresh_from_db()
    assert task.closed_at is not None


@pytest.mark.parametrize("odd", ["Sat", "Sat 02:00-02:00", "someday"])
def test_an_impossible_window_is_refused_when_it_is_saved(people, key, odd):
    with pytest.raises(BadInput, match="Nothing was changed"):
        policies.set_policy(people.owner, key, wish(window=odd))
    assert not RotationPolicy.objects.exists()


def test_freezes_by_api_are_an_owners_to_set(people, place, key):
    body = {"name": "Fair", "first_day": "2030-05-01", "last_day": "2030-05-03"}
    assert Api(people.operator).post("freezes/", body).status == 403
    made = Api(people.owner).post("freezes/", {**body, "environment": place.environment.pk})
    assert (made.status, made.json["environment"]["id"]) == (201, place.environment.pk)
    assert len(Api(people.viewer).get("freezes/").json["results"]) == 1
    assert Api(people.outsider).get("freezes/").json["results"] == []
    number = made.json["id"]
    assert Api(people.operator).call("DELETE", f"freezes/{number}/").status == 403
    assert Api(people.outsider).call("DELETE", f"freezes/{number}/").status == 404
    assert Api(people.owner).call("DELETE", f"freezes/{number}/").status == 204
    backwards = {**body, "last_day": "2030-04-01"}
    assert Api(people.owner).post("freezes/", backwards).status == 400
    with pytest.raises(Denied):
        freezes.add_freeze(people.viewer, "x", date(2030, 1, 1), date(2030, 1, 2))
    assert Reason.SCHEDULE == "schedule"
