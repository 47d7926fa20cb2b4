"""What rotates when: forecasts over windows, freezes and clock changes; the page; the feed."""

import re
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
import time_machine
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from keyvault.models import ApiKey, Member, Role
from rotation.models import ChangeFreeze, RotationPolicy
from rotation.notifications import preferences
from rotation.scheduling import calendar, policies
from rotation.scheduling.forecast import coming
from rotation.scheduling.policies import Wish
from rotation.scheduling.windows import parse
from tests import leakscan, pages
from tests.api_client import counting, sign_in
from tests.commands import call
from tests.factories import grant, make_key, make_member, secret_of

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def policy(**changes: Any) -> RotationPolicy:
    said: dict[str, Any] = {
        "every_days": 7,
        "at_time": time(3, 30),
        "time_zone": "UTC",
        "overlap_seconds": 0,
        "quiet_seconds": 1,
        "next_run_at": datetime(2026, 11, 9, 3, 30, tzinfo=UTC),
    }
    return RotationPolicy(**{**said, **changes})


def ahead(one: RotationPolicy, frozen: Any = (), count: int = 5) -> list[Any]:
    return list(islice(coming(one, list(frozen), NOW), count))


@pytest.mark.pure
def test_the_next_runs_follow_one_another_and_say_why_one_is_moved() -> None:
    runs = ahead(policy(), [(date(2026, 11, 15), date(2026, 11, 18))], 3)
    assert [run.at.day for run in runs] == [9, 19, 26], "the next is counted from the moved one"
    assert [run.moved for run in runs] == ["", "a freeze", ""]
    within = ahead(policy(window="Tue-Thu 10:00-16:00"), count=2)
    assert (within[1].at, within[1].moved) == (
        datetime(2026, 11, 17, 10, 0, tzinfo=UTC),
        "its window",
    )


@pytest.mark.pure
def test_an_overdue_run_counts_as_now_and_one_that_is_off_has_none() -> None:
    late = ahead(policy(next_run_at=NOW - timedelta(days=30)), count=2)
    assert late[1].at == datetime(2026, 11, 9, 3, 30, tzinfo=UTC)
    assert ahead(policy(enabled=False)) == []
    assert ahead(policy(next_run_at=None)) == []
    forever = [(date(2026, 11, 10), date(2028, 12, 31))]
    assert len(ahead(policy(), forever)) == 1, "it ends where nothing is allowed"


@pytest.mark.pure
@given(
    zone=st.sampled_from(sorted(available_timezones())),
    days=st.integers(1, 60),
    at=st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
    window=st.sampled_from(["", "Sat 02:00-04:00", "Tue-Thu 10:00-16:00", "22:00-02:00"]),
    year=st.integers(2020, 2035),
    frozen=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), max_size=3),
)
def test_no_run_lies_outside_its_window_or_on_a_frozen_day_in_any_zone(
    zone: str, days: int, at: time, window: str, year: int, frozen: list[tuple[int, int]]
) -> None:
    """Over every zone of the database and each change of the clock; runs go forward and end never."""
    start = datetime(year, 3, 20, 12, tzinfo=UTC)
    first = start.date()
    spans = [
        (first + timedelta(days=one), first + timedelta(days=one + more)) for one, more in frozen
    ]
    one = policy(time_zone=zone, every_days=days, at_time=at, window=window, next_run_at=start)
    runs = list(islice(coming(one, spans, start), 8))
    assert len(runs) == 8
    opened = parse(window)
    for before, run in pairwise(runs):
        local = run.at.astimezone(ZoneInfo(zone))
        assert run.at > before.at
        assert not any(start <= local.date() <= end for start, end in spans)
        if opened is None:
            continue
        # A window that passes midnight belongs to the day on which it opens; a change of the clock
        # may end it up to some hours early or late on the clock.
        day = local.weekday() if local.time() >= opened.opens else (local.weekday() - 1) % 7
        assert day in opened.days or local.weekday() in opened.days, (zone, local)


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    made = make_key(vendor, place, people.owner, name="Video upload")
    policies.set_policy(people.operator, made, Wish(7, time(3, 30), "UTC", 0, 1))
    return made


def text(client: Client, path: str = "/calendar/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()
    return pages.text(answer)


def test_the_page_shows_a_month_in_ones_own_zone_with_its_freezes(
    people: Any, place: Any, key: ApiKey
) -> None:
    preferences.set_preference(
        people.owner, mail=True, only_urgent=False, weekly=True, time_zone="Asia/Tokyo"
    )
    RotationPolicy.objects.update(next_run_at=datetime(2027, 3, 9, 20, 30, tzinfo=UTC))
    owner = sign_in(Client(), people.owner)
    page = text(owner, "/calendar/?month=2027-03")
    assert "05:30 Video upload" in page
    assert "Wed 10 05:30" in page
    assert "Asia/Tokyo" in page
    form = {"name": "Audit week", "first_day": "2027-03-15", "last_day": "2027-03-19"}
    owner.post("/calendar/freezes", form)
    page = text(owner, "/calendar/?month=2027-03")
    assert "Audit week" in page
    assert "moved by a freeze" in page
    owner.post("/calendar/freezes/end", {"freeze": ChangeFreeze.objects.get().pk})
    assert not ChangeFreeze.objects.exists()
    for month in ("2027-13", "x", "9999-01"):
        assert owner.get(f"/calendar/?month={month}").status_code in (400, 403)
    operator = sign_in(Client(), people.operator)
    assert "Add a freeze" not in text(operator)
    assert operator.post("/calendar/freezes", form).status_code == 403
    bad = owner.post("/calendar/freezes", {**form, "last_day": "2027-03-01"})
    assert "would end before it begins" in bad.content.decode()


def test_who_chose_no_zone_sees_the_installations(people: Any, key: ApiKey, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    assert "Asia/Tokyo" in text(sign_in(Client(), people.viewer))
    feed_of(people.viewer)
    assert preferences.preference_of(people.viewer).time_zone == "Asia/Tokyo", "a feed chooses none"


def test_nobody_sees_runs_of_keys_that_are_not_theirs_to_see(
    people: Any, place: Any, key: ApiKey
) -> None:
    assert "Video upload" not in text(sign_in(Client(), people.outsider))
    assert "Freezes" in text(sign_in(Client(), people.viewer))


def feed_of(member: Member) -> tuple[Client, str]:
    client = sign_in(Client(), member)
    page = client.post("/calendar/feed", follow=True).content.decode()
    address = page.split("/calendar/feed/")[1].split(".ics")[0]
    return client, f"/calendar/feed/{address}.ics"


def test_the_feed_is_a_calendar_of_ones_own_keys_and_ends_when_told(
    stack: Any, people: Any, key: ApiKey
) -> None:
    client, path = feed_of(people.viewer)
    answer = Client().get(path)
    assert answer["Content-Type"].startswith("text/calendar")
    assert "no-store" in answer["Cache-Control"]
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    assert len(events) >= 12, "ninety days of a weekly rotation"
    assert events[0]["SUMMARY"] == f"Rotation of {key}"
    assert len({event["UID"] for event in events}) == len(events)
    secret = path.split("kvc_")[1].removesuffix(".ics")
    assert leakscan.hits(stack, [secret, secret_of(key.current)], [answer.content.decode()]) == []
    _, newer = feed_of(people.viewer)
    assert Client().get(path).status_code == 404, "a new address ends the old one"
    Member.objects.filter(pk=people.viewer.pk).update(is_active=False)
    assert Client().get(newer).status_code == 404
    Member.objects.filter(pk=people.viewer.pk).update(is_active=True)
    client.force_login(people.viewer)
    client.post("/calendar/feed", {"end": "1"})
    assert Client().get(newer).status_code == 404


def test_the_feed_shrinks_with_ones_rights_and_guesses_are_bounded(
    place: Any, people: Any, key: ApiKey
) -> None:
    local = grant(make_member("local@example.com"), Role.VIEWER, application=place.application)
    _, path = feed_of(local)
    assert b"VEVENT" in Client().get(path).content
    local.grants.all().delete()
    assert b"VEVENT" not in Client().get(path).content
    seen = {
        Client().get(f"/calendar/feed/kvc_guess{number}.ics").status_code for number in range(70)
    }
    assert seen == {404, 429}


def test_the_command_and_the_keys_page_say_why_a_run_is_moved(people: Any, key: ApiKey) -> None:
    with time_machine.travel(NOW, tick=False):
        RotationPolicy.objects.update(next_run_at=datetime(2026, 11, 9, 3, 30, tzinfo=UTC))
        ChangeFreeze.objects.create(
            name="Black Friday", first_day=date(2026, 11, 14), last_day=date(2026, 11, 30)
        )
        runs = call("listduerotations", "--days", 60, "--json").json
        assert [run["at"][:10] for run in runs][:2] == ["2026-11-09", "2026-12-01"]
        assert runs[1]["moved"] == "a freeze"
        page = text(sign_in(Client(), people.operator), f"/keys/{key.pk}/")
        assert "moved by a freeze" in page


def test_the_page_costs_the_same_for_few_keys_and_many(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    owner = sign_in(Client(), people.owner)
    costs = []
    for number in range(2):
        with counting() as statements:
            text(owner)
        costs.append(len(statements))
        for part in range(4):
            made = make_key(vendor, place, people.owner, name=f"k {number} {part}")
            policies.set_policy(people.operator, made, Wish(7, time(3, 30), "UTC", 0, 1))
    assert costs[0] == costs[1] <= 12
    assert len(calendar.planned(people.owner, NOW + timedelta(days=60)).runs) >= 9


def test_more_keys_than_are_looked_at_are_said_and_not_passed_over(
    people: Any, key: ApiKey
) -> None:
    def more(count: int) -> None:
        made = ApiKey.objects.bulk_create(
            ApiKey(
                account=key.account,
                environment=key.environment,
                application=key.application,
                name=f"many {count} {number}",
            )
            for number in range(count)
        )
        RotationPolicy.objects.bulk_create(policy(key=one, every_days=90) for one in made)

    with time_machine.travel(NOW, tick=False):
        RotationPolicy.objects.update(next_run_at=datetime(2026, 11, 9, 3, 30, tzinfo=UTC))
        owner = sign_in(Client(), people.owner)
        address = owner.post("/calendar/feed", follow=True).content.decode()
        feed = re.search(r"/calendar/feed/kvc_[\w-]+\.ics", address)
        assert feed is not None
        more(calendar.MOST - RotationPolicy.objects.count())
        assert not calendar.planned(people.owner, NOW + timedelta(days=30)).cut
        assert "there are more" not in text(owner)
        more(1)
        plan = calendar.planned(people.owner, NOW + timedelta(days=30))
        assert plan.cut
        assert len({run.key.pk for run in plan.runs}) == calendar.MOST
        assert "there are more" in text(owner)
        assert "Nothing is planned" not in text(owner, "/calendar/?month=2026-12")
        assert "there are more" in Client().get(feed[0]).content.decode()
