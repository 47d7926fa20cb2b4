"""Many keys at once: looked at first, spread until a day, each in its window; lists in any order."""

import csv
import io
from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Denied
from keyvault.models import ApiKey, KeyVersion
from rotation.campaigns import bulk, service
from rotation.models import HumanTask, Rotation, RotationPolicy
from rotation.models.campaigns import Campaign
from rotation.models.onboarding import SavedView
from rotation.scheduling import freezes, policies
from rotation.scheduling.policies import Wish
from rotation.scheduling.replanner import replan
from tests.factories import lone_key, make_key
from tests.pages import as_, statements, text


@pytest.fixture
def keys(vendor, place, people):
    """Return four keys of four applications, and one whose vendor needs a person."""
    made = [lone_key(vendor, place, people.owner, name=f"bulk {number}") for number in range(4)]
    return [*made, make_key(vendor, place, people.owner, manual=True, name="bulk manual")]


def test_a_bulk_rotation_is_shown_before_it_begins_and_then_all_rotate(client, people, keys):
    as_(client, people.owner)
    seen = client.post("/keys/bulk", {"all": "yes", "query": "q=bulk"})
    assert "This will rotate 5 keys; 1 of them needs a person" in text(seen)
    assert not Campaign.objects.exists()
    sent = {"all": "yes", "query": "q=bulk", "title": "Yearly", "start": "yes"}
    page = client.post("/keys/bulk", sent, follow=True)
    assert "Yearly" in text(page)
    assert service.work() == 5
    assert Rotation.objects.filter(reason="manual", requested_by=people.owner).count() == 5


def test_ticked_keys_alone_rotate_and_nothing_ticked_is_an_error(client, people, keys):
    as_(client, people.owner)
    sent = {"key": [keys[0].pk, keys[2].pk], "title": "Two", "start": "yes"}
    client.post("/keys/bulk", sent)
    assert set(Campaign.objects.get().items.values_list("key", flat=True)) == {
        keys[0].pk,
        keys[2].pk,
    }
    empty = client.post("/keys/bulk", {"title": "None", "start": "yes"})
    assert empty.status_code == 400
    assert "Tick at least one key" in text(empty)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"title": ""}, 400),
        ({"title": "x" * 201}, 400),
        ({"title": "x", "finish_by": "2020-01-01"}, 400),
        ({"title": "x", "finish_by": "2126-01-01"}, 400),
        ({"title": "x", "finish_by": "someday"}, 400),
        ({"title": "a\u202eb"}, 400),
        ({"title": "x", "key": "1 OR 1=1"}, 404),
    ],
)
def test_a_bulk_rotation_that_does_not_fit_starts_nothing(client, people, keys, sent, status):
    as_(client, people.owner)
    answer = client.post("/keys/bulk", {"key": keys[0].pk, "start": "yes", **sent})
    assert answer.status_code == status
    assert not Campaign.objects.exists()


def test_nobody_rotates_what_they_may_not(client, people, place, keys):
    as_(client, people.operator)
    page = client.post("/keys/bulk", {"key": [one.pk for one in keys]})
    assert "This will rotate 1 key" in text(page), "one of the five belongs to their application"
    with pytest.raises(Denied, match="You may not rotate 4 of these keys"):
        bulk.start(people.operator, "All", ApiKey.objects.all())
    assert not Campaign.objects.exists()
    as_(client, people.viewer)
    assert "Rotate the ticked ones" not in text(client.get("/keys/"))


def test_an_operator_sees_the_campaign_that_they_began_and_can_end_it(
    client, people, vendor, place
):
    key = make_key(vendor, place, people.owner)
    campaign = bulk.start(people.operator, "Mine", ApiKey.objects.filter(pk=key.pk))
    as_(client, people.operator)
    assert "Stop campaign" in text(client.get(f"/campaigns/{campaign.pk}/"))
    assert as_(client, people.developer).get(f"/campaigns/{campaign.pk}/").status_code == 403
    as_(client, people.operator).post(f"/campaigns/{campaign.pk}/end")
    assert service.work() == 0
    assert not Rotation.objects.exists()
    assert client.post(f"/campaigns/{campaign.pk}/end").status_code == 409


def test_a_plan_until_friday_spreads_evenly_within_windows_and_freezes(vendor, people, place, keys):
    """“Rotate everything of this account by Friday.”"""
    monday = datetime(2030, 6, 3, 8, tzinfo=UTC)
    friday = datetime(2030, 6, 7, 22, tzinfo=UTC)
    for key in keys[:4]:
        policies.set_policy(
            people.owner, key, Wish(365, time(3), "UTC", 0, 1, window="Mon-Fri 10:00-16:00")
        )
    RotationPolicy.objects.update(next_run_at=friday + timedelta(days=90))
    freezes.add_freeze(people.owner, "Fair", monday.date(), monday.date() + timedelta(days=1))
    with time_machine.travel(monday, tick=False):
        chosen = ApiKey.objects.filter(account=place.api_account)
        campaign = bulk.start(people.owner, "By Friday", chosen, friday)
        Campaign.objects.update(started_at=monday)
    begun = []
    for hour in range(0, int((friday - monday).total_seconds() // 3600)):
        now = monday + timedelta(hours=hour)
        with time_machine.travel(now, tick=False):
            if service.work():
                begun.append(now)
        Rotation.objects.filter(finished_at=None).update(step="cancelled", finished_at=now)
    assert Rotation.objects.count() == 4
    assert len(begun) >= 2, "not all at once"
    assert all(10 <= at.hour < 16 and at.weekday() in (2, 3, 4) for at in begun)
    assert campaign.items.filter(rotation=None).count() == 0


def test_a_plan_that_its_windows_do_not_let_finish_is_told(people, keys):
    policies.set_policy(people.owner, keys[0], Wish(365, time(3), "UTC", window="Sat 02:00-04:00"))
    monday = datetime(2030, 6, 3, 8, tzinfo=UTC)
    with time_machine.travel(monday, tick=False):
        campaign = bulk.start(
            people.owner,
            "By Tuesday",
            ApiKey.objects.filter(pk=keys[0].pk),
            monday + timedelta(days=1),
        )
        Campaign.objects.update(started_at=monday)
    with time_machine.travel(monday + timedelta(days=2), tick=False):
        assert service.work() == 0
        task = HumanTask.objects.get(about=f"campaign-late:{campaign.pk}")
        assert "1 of its keys have not begun" in task.text
        replan(None)
        service.accept(people.owner, campaign.items.get(), "It may wait.")
        service.work()
    task.refresh_from_db()
    assert task.closed_at is not None


def test_the_list_of_keys_is_exported_without_secrets_and_on_record(client, people, keys):
    ApiKey.objects.filter(pk=keys[0].pk).update(name="=HYPERLINK(1)")
    as_(client, people.owner)
    answer = client.post("/keys/export", {"query": ""})
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert len(rows) == 5
    assert rows[0]["name"] == "'=HYPERLINK(1)"
    assert rows[1]["last_four"] == keys[1].current.tail
    assert AuditEvent.objects.filter(action="inventory.exported").count() == 1
    narrow = client.post("/keys/export", {"query": "q=manual"})
    assert len(list(csv.DictReader(io.StringIO(narrow.getvalue().decode())))) == 1
    as_(client, people.outsider)
    assert client.post("/keys/export").getvalue().decode().count("\n") == 1


@pytest.mark.parametrize("order", ["", "name", "due", "expiry", "age"])
def test_every_order_pages_through_each_key_once(client, people, place, order):
    now = timezone.now()
    made = ApiKey.objects.bulk_create(
        ApiKey(
            account=place.api_account,
            environment=place.environment,
            application=place.application,
            name=f"page {number % 7}-{number}",
        )
        for number in range(120)
    )
    for number, key in enumerate(made[:70]):
        at = now + timedelta(hours=number % 9)
        version = KeyVersion.objects.create(
            key=key,
            number=1,
            state="current",
            fingerprint=f"{number:064x}",
            length=40,
            published_at=at,
            expires_at=at,
        )
        ApiKey.objects.filter(pk=key.pk).update(current=version)
        RotationPolicy.objects.create(
            key=key,
            every_days=3,
            at_time=time(3),
            overlap_seconds=0,
            quiet_seconds=1,
            next_run_at=at,
        )
    as_(client, people.viewer)
    address, seen = f"/keys/?order={order}", []
    while address:
        page = client.get(address)
        seen += [row["it"].pk for row in page.context["rows"]]
        address = f"/keys/{page.context['next']}" if page.context["next"] else ""
    assert sorted(seen) == sorted(one.pk for one in made)
    for odd in ("x", "x~y", "~~", f"~{'9' * 30}", "2020-01-01~5" if order != "name" else "~"):
        status = client.get("/keys/", {"order": order, "after": odd}).status_code
        assert status in (200, 404), odd


def test_a_view_is_kept_under_a_name_and_is_ones_own(client, people, keys):
    as_(client, people.viewer)
    sent = {"name": "Bulk ones", "query": "q=bulk&order=name&after=5&evil=1"}
    page = client.post("/views/keys/keep", sent, follow=True)
    assert "Bulk ones" in text(page)
    view = SavedView.objects.get()
    assert view.query == "q=bulk&order=name"
    again = client.post("/views/keys/keep", sent)
    assert again.status_code == 409
    assert client.post("/views/keys/keep", {"name": "x", "query": ""}).status_code == 400
    assert client.post("/views/keys/keep", {"name": "", "query": "q=1"}).status_code == 400
    assert client.post("/views/nonsense/keep", sent).status_code == 404
    as_(client, people.owner)
    assert "Bulk ones" not in text(client.get("/keys/"))
    client.post(f"/views/keys/{view.pk}/drop")
    assert SavedView.objects.exists(), "somebody else's"
    as_(client, people.viewer).post(f"/views/keys/{view.pk}/drop")
    assert not SavedView.objects.exists()
    as_(client, people.owner)
    client.post("/views/audit/keep", {"name": "Reveals", "query": "action=secret.revealed"})
    assert "Reveals" in text(client.get("/audit/"))


def test_the_preview_takes_as_many_statements_for_more_keys(client, vendor, people, place, keys):
    as_(client, people.owner)
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def taken():
        with CaptureQueriesContext(connection) as seen:
            client.post("/keys/bulk", {"all": "yes", "query": "q=bulk"})
        return len(seen)

    few = taken()
    for number in range(5):
        lone_key(vendor, place, people.owner, name=f"bulk more {number}")
    assert taken() == few
    assert statements(client, "/keys/?order=name") <= 11


def test_more_than_the_most_is_refused(people, keys):
    with pytest.raises(BadInput, match="within the next 180"):
        bulk.start(people.owner, "x", ApiKey.objects.all(), timezone.now() + timedelta(days=400))
