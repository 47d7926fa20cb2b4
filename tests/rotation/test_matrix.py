"""All keys at a glance: counts and the worst state of each place, and only what one may see."""

from datetime import time, timedelta
from typing import Any

import time_machine
from django.test import Client
from django.utils import timezone

from keyvault.access.permissions import visible_keys
from keyvault.console import key_matrix
from keyvault.console.key_matrix import cells_of
from keyvault.models import ApiKey, Application, KeyVersion, Role
from rotation.engine import lifecycle
from rotation.models import Reason, RotationPolicy
from rotation.scheduling import policies
from rotation.scheduling.policies import Wish
from tests.api_client import counting, sign_in
from tests.factories import grant, make_key, make_member
from tests.rotation.driving import drive, started


def text(client: Client, path: str = "/keys/by-application/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_each_cell_shows_how_many_and_the_worst_state(vendor: Any, place: Any, people: Any) -> None:
    keys = [make_key(vendor, place, people.owner, name=f"key {n}") for n in range(3)]
    far = make_key(vendor, place, people.owner, name="far", environment=place.production)
    owner = sign_in(Client(), people.owner)
    page = text(owner)
    assert '<span class="num">3</span> keys' in page
    assert '<span class="num">1</span> key<' in page
    drive(started(people.operator, keys[0]))
    drive(started(people.operator, keys[0]))
    lifecycle.start(people.operator, keys[0], Reason.MANUAL)
    page = text(owner)
    assert "1 rotating" in page
    assert '<span class="num">3</span> keys' in page, "once, however often it was rotated"
    KeyVersion.objects.filter(key=keys[1]).update(expires_at=timezone.now() + timedelta(days=9))
    assert "1 expires in 30 days" in text(owner)
    KeyVersion.objects.filter(key=keys[2]).update(expires_at=timezone.now() + timedelta(days=9))
    assert "2 expire in 30 days" in text(owner)
    policies.set_policy(people.operator, keys[2], Wish(30, time(3), "UTC", 0, 1))
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(days=1))
    assert "1 overdue" in text(owner)
    assert "· due <time" in text(owner)
    assert "oldest <time" in text(owner)
    KeyVersion.objects.filter(key=far).update(check_answer="refused")
    page = text(owner)
    assert "1 refused by the vendor" in page
    query = f"application={place.application.pk}&amp;environment={place.production.pk}&amp;state=refused"
    assert query in page
    assert "far" in text(owner, "/keys/?" + query.replace("&amp;", "&"))


def test_nobody_sees_places_that_are_not_theirs(vendor: Any, place: Any, people: Any) -> None:
    make_key(vendor, place, people.owner, name="key")
    assert "No application has a key yet" in text(sign_in(Client(), people.outsider))
    other = Application.objects.create(name="Elsewhere")
    local = grant(make_member("local@example.com"), Role.VIEWER, application=other)
    assert str(place.application) not in text(sign_in(Client(), local))


def test_it_costs_the_same_for_few_and_many_and_pages(vendor: Any, place: Any, people: Any) -> None:
    key = make_key(vendor, place, people.owner, name="key")
    owner = sign_in(Client(), people.owner)
    with counting() as few:
        text(owner)
    more = Application.objects.bulk_create(Application(name=f"App {n}") for n in range(60))
    ApiKey.objects.bulk_create(
        ApiKey(account=key.account, environment=key.environment, application=one, name=one.name)
        for one in more
    )
    with counting() as many:
        page = text(owner)
    assert len(few) == len(many) <= 11
    assert "More" in page
    assert "Back to the first" in text(owner, "/keys/by-application/?after=1")


def test_a_count_that_took_long_stands_for_a_minute_and_for_those_who_see_the_same(
    vendor: Any, place: Any, people: Any
) -> None:
    """P7: a page of very many keys is counted once a minute, and says when."""
    key = make_key(vendor, place, people.owner, name="key")
    cell, shown = (place.application.pk, place.environment.pk), [place.application.pk]
    every = visible_keys(people.owner).filter(application__isnull=False)
    first = cells_of(every, shown, long_seconds=0.0)
    make_key(vendor, place, people.owner, name="another")
    again = cells_of(every.all(), shown)
    assert (again.value[cell]["total"], again.at) == (1, first.at)
    other = visible_keys(people.owner).filter(pk__gt=key.pk)
    assert cells_of(other, shown).value[cell]["total"] == 1, "another question"
    assert cells_of(other, []).value == {}
    key_matrix.forget()
    assert cells_of(every, shown).value[cell]["total"] == 2
    owner = sign_in(Client(), people.owner)
    assert "Counted <time" not in text(owner), "it was counted just now"
    kept = cells_of(every, shown, long_seconds=0.0)
    with time_machine.travel(kept.at + timedelta(seconds=30), tick=True):
        assert "Counted <time" in text(owner)
