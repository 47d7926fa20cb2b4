"""The timeline of a key as one stream with filters, and the charts with their text."""

import re
from datetime import date, timedelta

import pytest
from django.utils import timezone

from keyvault.access import roles
from keyvault.console import timeline
from keyvault.delivery import fetch, tokens
from keyvault.inventory.keys import check_key
from keyvault.models import ApiKey, Application, KeyVersion, Role
from rotation.models import Rotation, RotationPolicy, Step
from rotation.monitoring import charts, stats
from rotation.scheduling import inheritance, policies
from rotation.scheduling.policies import Wish
from tests.factories import lone_key, make_key, make_member, show
from tests.pages import as_, statements, text
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="Video upload")


def acts(key, kind=""):
    return [entry.event.action for entry in timeline.stream(key, kind).entries]


def test_one_stream_holds_everything_and_filters_choose(vendor, place, people, key):
    check_key(people.owner, key)
    show(people.developer, key)
    policies.set_policy(people.operator, key, Wish(30))
    inheritance.set_scope(people.owner, place.environment, Wish(window="Sat 02:00-04:00"))
    drive(started(people.operator, key))
    everything = acts(key)
    for act in ("key.registered", "key.checked", "secret.revealed", "rotation.started"):
        assert act in everything, act
    assert everything.count("policy.changed") == 2, "its own, and that of its environment"
    assert set(acts(key, "checks")) == {"key.checked"}
    assert "secret.revealed" in acts(key, "reads")
    assert "rotation.started" not in acts(key, "reads")
    assert set(acts(key, "changes")) >= {"policy.changed", "key.registered"}
    assert "policy.changed" not in acts(key, "rotations")


def test_roles_that_reach_the_key_stand_in_its_stream_and_others_do_not(place, people, key):
    other = Application.objects.create(name="Elsewhere")
    newcomer = make_member("new@example.com")
    before = acts(key).count("grant.changed")
    roles.assign_role(people.owner, newcomer, Role.VIEWER, application=place.application)
    roles.assign_role(people.owner, newcomer, Role.VIEWER, application=other)
    assert acts(key).count("grant.changed") == before + 1


def test_fetches_are_one_line_each_token_until_something_else_happens(place, people, key):
    first, second = (
        tokens.issue(people.owner, name, place.application, place.environment)[1].reveal()
        for name in ("web-1", "web-2")
    )
    for token in (first, second, first, first):
        fetch.fetch(token, key.pk)
    check_key(people.owner, key)
    fetch.fetch(first, key.pk)
    found = timeline.stream(key, "").entries
    fetched = [(e.event.actor_label, e.count) for e in found if e.event.action == "secret.fetched"]
    assert [count for _, count in fetched] == [1, 3, 1]
    assert stats.fetches(key).bars[-1].total == 5


def test_the_stream_is_paged_and_nothing_is_lost_between(people, key):
    for _ in range(60):
        check_key(people.owner, key)
    seen, before = [], None
    while True:
        page = timeline.stream(key, "checks", before)
        seen += [entry.event.seq for entry in page.entries]
        if not page.before:
            break
        before = page.before
    assert len(seen) == len(set(seen)) == 60


def test_the_page_of_a_key_filters_and_refuses_nonsense(client, people, key):
    as_(client, people.viewer)
    page = text(client.get(f"/keys/{key.pk}/?kind=checks"))
    assert "Key registered" not in page
    assert client.get(f"/keys/{key.pk}/?kind=nonsense").status_code == 200
    assert client.get(f"/keys/{key.pk}/?before=x").status_code == 404


def test_a_chart_says_in_words_and_in_a_table_what_it_draws():
    rows = [("Mon", [3, 1]), ("Tue", [0, 0]), ("Wed", [1, 0])]
    made = charts.chart("x", "X", [("done", "good"), ("failed", "bad")], rows)
    assert made.text == "4 done, 1 failed; the most at “Mon”: 4."
    assert [part.height for part in made.bars[0].parts] == [30.0, 10.0]
    assert made.bars[0].parts[1].y == 0
    assert made.bars[1].parts == []
    assert charts.chart("x", "X", [("done", "good")], []).empty
    days = charts.per_day({date(2030, 1, 2): 5}, date(2030, 1, 3), 3)
    assert days == [("01 Jan", [0]), ("02 Jan", [5]), ("03 Jan", [0])]


def test_the_overview_counts_what_one_may_see(client, vendor, place, people, key):
    old = lone_key(vendor, place, people.owner)
    KeyVersion.objects.filter(key=old).update(published_at=timezone.now() - timedelta(days=400))
    policies.set_policy(people.owner, old, Wish(30))
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(days=1))
    Rotation.objects.create(
        key=key,
        step=Step.FAILED,
        reason="manual",
        overlap_seconds=0,
        quiet_seconds=0,
        step_since=timezone.now(),
        finished_at=timezone.now(),
    )
    every = ApiKey.objects.all()
    assert [bar.total for bar in stats.standing(every).value.by_age().bars] == [1, 0, 0, 0, 0, 1]
    states = {bar.label: bar.total for bar in stats.standing(every).value.by_state().bars}
    assert (states["Overdue"], states["Without a policy"]) == (1, 1)
    assert stats.per_week(every).bars[-1].counts == [0, 1, 0]
    assert stats.standing(every).value.by_answer().bars[0].total == 2
    assert stats.standing(every, long_seconds=0.0).value.by_answer().bars[0].total == 2
    KeyVersion.objects.filter(key=key).update(check_answer="refused")
    assert stats.standing(every).value.by_answer().bars[0].total == 2, "counted within this minute"
    other = stats.standing(every.filter(pk=old.pk))
    assert other.value.by_answer().bars[0].total == 1, "who sees other keys is told of those"
    stats.forget()
    assert stats.standing(every).value.by_answer().bars[0].total == 1
    page = text(as_(client, people.owner).get("/overview/"))
    assert page.count('role="img"') == 4
    assert page.count("<details") == 4
    assert not re.search(r'style="', page)
    as_(client, people.outsider)
    assert "Nothing to draw yet." in text(client.get("/overview/"))
    assert statements(as_(client, people.owner), "/overview/") <= 8


def test_the_style_page_draws_each_state_and_icon(client, people):
    page = text(as_(client, people.viewer).get("/style"))
    assert "Needs a person" in page
    assert "--accent" in page
