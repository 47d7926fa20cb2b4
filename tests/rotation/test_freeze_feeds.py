"""Freezes from calendars: a file once, an address each hour; one that is away changes nothing."""

import re
import threading
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from keyvault.errors import BadInput, Conflict, Denied
from rotation import freeze_feeds, freezes, policies
from rotation.models import Freeze, FreezeFeed, HumanTask, RotationPolicy
from rotation.policies import Wish
from tests import leakscan
from tests.api_client import Api
from tests.factories import make_key
from tests.pages import as_, text
from tests.rotation.test_levels import CALENDAR


@pytest.fixture
def calendar():
    """Serve a calendar whose content and status a test chooses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(server.content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.content = 200, CALENDAR
    server.url = f"http://127.0.0.1:{server.server_port}/private-canary-feed-4417/basic.ics"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def read_again():
    FreezeFeed.objects.update(next_read_at=timezone.now())
    return freeze_feeds.read_due()


def names():
    return sorted(Freeze.objects.values_list("name", flat=True))


def test_a_calendars_events_are_freezes_and_follow_it(vendor, place, people, calendar):
    key = make_key(vendor, place, people.owner)
    policies.set_policy(people.operator, key, Wish(30))
    feed = freeze_feeds.add_feed(people.owner, "Company", calendar.url, place.environment)
    assert freeze_feeds.read_due() == 1
    assert names() == ["Black Friday", "Year end"]
    assert freeze_feeds.read_due() == 0, "an hour has to pass"
    with pytest.raises(BadInput, match="comes from the calendar"):
        freezes.end_freeze(people.owner, Freeze.objects.first())
    today = timezone.now().date()
    begins = RotationPolicy.objects.get().next_run_at.date() - timedelta(days=2)
    event = f"DTSTART;VALUE=DATE:{begins:%Y%m%d}".encode()
    ends = f"DTEND;VALUE=DATE:{begins + timedelta(days=5):%Y%m%d}".encode()
    moved = CALENDAR.replace(b"DTSTART;VALUE=DATE:20301128", event)
    calendar.content = moved.replace(b"DTEND;VALUE=DATE:20301203", ends)
    assert read_again() == 1
    assert Freeze.objects.get(name="Black Friday").first_day == begins
    assert RotationPolicy.objects.get().next_run_at.date() >= begins + timedelta(days=5)
    freeze_feeds.end_feed(people.owner, feed)
    assert names() == []
    assert RotationPolicy.objects.get().next_run_at.date() < begins + timedelta(days=5)
    assert begins > today


@pytest.mark.parametrize(
    ("status", "content", "why"),
    [
        (500, CALENDAR, "It answered 500"),
        (302, CALENDAR, "It answered 302"),
        (200, b"<html>sign in</html>", "no iCalendar file"),
        (200, b"", "no iCalendar file|0 events"),
        (200, b"x" * 600_000, "larger than"),
        (200, CALENDAR.replace(b"20301203", b"20391203"), "200 days at most"),
    ],
)
def test_one_that_cannot_be_read_leaves_what_it_said_last(
    place, people, calendar, status, content, why
):
    freeze_feeds.add_feed(people.owner, "Company", calendar.url)
    freeze_feeds.read_due()
    calendar.status, calendar.content = status, content
    assert read_again() == 0
    assert names() == ["Black Friday", "Year end"]
    feed = FreezeFeed.objects.get()
    assert re.search(why, feed.last_error), feed.last_error
    assert not HumanTask.objects.exists(), "not at once"
    FreezeFeed.objects.update(failing_since=timezone.now() - timedelta(hours=7))
    read_again()
    task = HumanTask.objects.get(closed_at=None)
    assert "still hold" in task.text
    calendar.status, calendar.content = 200, CALENDAR
    assert read_again() == 1
    task.refresh_from_db()
    assert task.closed_at is not None


def test_its_address_lies_in_vault_only(stack, place, people, calendar):
    freeze_feeds.add_feed(people.owner, "Company", calendar.url)
    freeze_feeds.read_due()
    calendar.status = 500
    read_again()
    assert leakscan.hits(stack, ["private-canary-feed-4417"]) == []


def test_who_may_and_which_address(place, people, calendar):
    with pytest.raises(Denied):
        freeze_feeds.add_feed(people.operator, "Mine", calendar.url)
    for odd in ("http://10.0.0.1/a.ics", "ftp://example.com/a.ics", "https://me:x@example.com/"):
        with pytest.raises(BadInput):
            freeze_feeds.add_feed(people.owner, "Odd", odd)
    freeze_feeds.add_feed(people.owner, "Company", calendar.url)
    with pytest.raises((Conflict, BadInput)):
        freeze_feeds.add_feed(people.owner, "Company", calendar.url)
    assert FreezeFeed.objects.count() == 1


def test_the_calendar_page_takes_a_file_or_an_address(client, place, people, calendar):
    as_(client, people.owner)
    file = SimpleUploadedFile("freezes.ics", CALENDAR, "text/calendar")
    page = client.post("/calendar/import", {"ics-file": file}, follow=True)
    assert "2 freezes were added" in text(page)
    assert "Black Friday" in text(client.get("/calendar/?month=2030-11"))
    assert "Year end" in text(client.get("/calendar/?month=2035-12")), "again each year"
    bad = SimpleUploadedFile("freezes.ics", b"hello", "text/calendar")
    refused = client.post("/calendar/import", {"ics-file": bad})
    assert refused.status_code == 400
    assert "no iCalendar file" in text(refused)
    assert client.post("/calendar/import", {}).status_code == 400
    sent = {"ics-name": "Company", "ics-url": calendar.url}
    page = client.post("/calendar/import", sent, follow=True)
    assert "is read within a minute" in text(page)
    assert "private-canary" not in text(page)
    feed = FreezeFeed.objects.get()
    client.post("/calendar/import/end", {"feed": feed.pk})
    assert not FreezeFeed.objects.exists()
    as_(client, people.operator)
    assert client.post("/calendar/import", sent).status_code == 403


def test_calendars_by_api(place, people, calendar):
    owner = Api(people.owner)
    made = owner.post("freeze-feeds/", {"name": "Company", "url": calendar.url})
    assert made.status == 201
    assert "canary" not in made.text
    assert len(Api(people.viewer).get("freeze-feeds/").json["results"]) == 1
    number = made.json["id"]
    assert Api(people.operator).call("DELETE", f"freeze-feeds/{number}/").status == 403
    assert owner.call("DELETE", f"freeze-feeds/{number}/").status == 204
    again = owner.post(
        "freezes/",
        {"name": "Month end", "first_day": "2030-01-31", "last_day": "2030-01-31", "rule": "last"},
    )
    assert again.json["rule"] == "FREQ=MONTHLY;BYMONTHDAY=-1"
    assert date(2030, 1, 31) == Freeze.objects.get().first_day
