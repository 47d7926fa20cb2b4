"""Freezes from calendars: a file once, an address each hour; one that is away changes nothing."""

import re
import threading
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from keyvault.core.errors import BadInput, Conflict, Denied
from rotation.models import ChangeFreeze, FreezeCalendar, HumanTask, Notification, RotationPolicy
from rotation.notifications import triggers
from rotation.scheduling import freeze_calendars, freezes, policies
from rotation.scheduling.policies import Wish
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
    FreezeCalendar.objects.update(next_read_at=timezone.now())
    return freeze_calendars.read_due()


def names():
    return sorted(ChangeFreeze.objects.values_list("name", flat=True))


def test_a_calendars_events_are_freezes_and_follow_it(vendor, place, people, calendar):
    key = make_key(vendor, place, people.owner)
    policies.set_policy(people.operator, key, Wish(30))
    feed = freeze_calendars.add_feed(people.owner, "Company", calendar.url, place.environment)
    assert freeze_calendars.read_due() == 1
    assert names() == ["Black Friday", "Year end"]
    assert freeze_calendars.read_due() == 0, "an hour has to pass"
    with pytest.raises(BadInput, match="comes from the calendar"):
        freezes.end_freeze(people.owner, ChangeFreeze.objects.first())
    today = timezone.now().date()
    begins = RotationPolicy.objects.get().next_run_at.date() - timedelta(days=2)
    event = f"DTSTART;VALUE=DATE:{begins:%Y%m%d}".encode()
    ends = f"DTEND;VALUE=DATE:{begins + timedelta(days=5):%Y%m%d}".encode()
    moved = CALENDAR.replace(b"DTSTART;VALUE=DATE:20301128", event)
    calendar.content = moved.replace(b"DTEND;VALUE=DATE:20301203", ends)
    assert read_again() == 1
    assert ChangeFreeze.objects.get(name="Black Friday").first_day == begins
    assert RotationPolicy.objects.get().next_run_at.date() >= begins + timedelta(days=5)
    freeze_calendars.end_feed(people.owner, feed)
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
        (200, CALENDAR[:-30], "cut off"),
        (200, b"BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", "empty all at once"),
    ],
)
def test_one_that_cannot_be_read_leaves_what_it_said_last(
    place, people, calendar, status, content, why
):
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    freeze_calendars.read_due()
    calendar.status, calendar.content = status, content
    assert read_again() == 0
    assert names() == ["Black Friday", "Year end"]
    feed = FreezeCalendar.objects.get()
    assert re.search(why, feed.last_error), feed.last_error
    assert not HumanTask.objects.exists(), "not at once"
    FreezeCalendar.objects.update(failing_since=timezone.now() - timedelta(hours=7))
    read_again()
    task = HumanTask.objects.get(closed_at=None)
    assert "still hold" in task.text
    calendar.status, calendar.content = 200, CALENDAR
    assert read_again() == 1
    task.refresh_from_db()
    assert task.closed_at is not None


def event(day, *lines):
    return "\r\n".join(
        ["BEGIN:VEVENT", f"UID:{day}", f"DTSTART;VALUE=DATE:{day:%Y%m%d}", *lines, "END:VEVENT", ""]
    ).encode()


def with_events(*events):
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + b"".join(events) + b"END:VCALENDAR\r\n"


def test_what_is_not_read_exactly_freezes_and_is_named_at_once(client, place, people, calendar):
    """B120, P5: a freeze is never silently missing; the page and the owners say what was not clear."""
    begins = timezone.now().date() + timedelta(days=20)
    broken = event(begins, "SUMMARY:Fair", f"DTEND;VALUE=DATE:{begins + timedelta(days=3)}")
    calendar.content = CALENDAR.replace(b"END:VCALENDAR", broken + b"END:VCALENDAR")
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    assert freeze_calendars.read_due() == 1
    assert names() == ["Black Friday", "Fair", "Year end"]
    fair = ChangeFreeze.objects.get(name="Fair")
    assert (fair.first_day, fair.last_day) == (begins, begins + timedelta(days=3))
    assert "“Fair” cannot be read exactly" in FreezeCalendar.objects.get().remarks
    task = HumanTask.objects.get(closed_at=None)
    assert "“Fair” cannot be read exactly" in task.text
    assert triggers.scan() == 1
    assert Notification.objects.get().messages.filter(member=people.owner).exists()
    as_(client, people.owner)
    assert "“Fair” cannot be read exactly" in text(client.get("/calendar/"))
    assert "Fair" in Api(people.owner).get("freeze-feeds/").json["results"][0]["remarks"]
    calendar.content = CALENDAR
    assert read_again() == 1
    task.refresh_from_db()
    assert task.closed_at
    assert FreezeCalendar.objects.get().remarks == ""


def test_a_new_calendar_that_cannot_be_read_is_told_at_once(place, people, calendar):
    """B120: nothing of it is frozen yet, so nobody waits six hours; one that was cut off counts so far."""
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    calendar.status = 500
    assert freeze_calendars.read_due() == 0
    assert "nothing of it is frozen" in HumanTask.objects.get(closed_at=None).text
    calendar.status, calendar.content = 200, CALENDAR[: CALENDAR.index(b"RRULE")]
    assert read_again() == 1
    assert names() == ["Black Friday", "Year end"]
    assert "cut off" in FreezeCalendar.objects.get().remarks
    assert "cut off" in HumanTask.objects.get(closed_at=None).text


def test_a_series_freezes_the_days_of_each_time_and_a_lost_key_age_is_asked_about(
    vendor, place, people, calendar
):
    """P8: a series with an end refused the whole calendar, so did a freeze as long as a maximum age."""
    key = make_key(vendor, place, people.owner)
    policies.set_policy(people.operator, key, Wish(10, max_age_days=20))
    first = timezone.now().date() + timedelta(days=5)
    series = event(first, "SUMMARY:Deploy stop", "RRULE:FREQ=WEEKLY;COUNT=3", "DURATION:P2D")
    long = event(first + timedelta(days=60), "SUMMARY:Long", "DURATION:P40D")
    calendar.content = with_events(series, long)
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    assert freeze_calendars.read_due() == 1, FreezeCalendar.objects.get().last_error
    stops = ChangeFreeze.objects.filter(name="Deploy stop").values_list("first_day", "last_day")
    assert list(stops) == [
        (first + timedelta(days=7 * n), first + timedelta(days=7 * n + 1)) for n in range(3)
    ]
    assert ChangeFreeze.objects.filter(name="Long").exists()


def test_a_calendar_that_is_empty_all_at_once_is_believed_after_a_day(place, people, calendar):
    """B120: its freezes held for ever; and an empty answer may be its server's mistake."""
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    freeze_calendars.read_due()
    calendar.content = with_events()
    assert read_again() == 0
    assert "empty all at once" in FreezeCalendar.objects.get().last_error
    assert names() == ["Black Friday", "Year end"]
    FreezeCalendar.objects.update(failing_since=timezone.now() - timedelta(hours=25))
    assert read_again() == 1
    assert names() == []
    calendar.content = with_events(event(date(2031, 1, 1), "SUMMARY:Next", "STATUS:CANCELLED"))
    assert read_again() == 1


def test_more_or_longer_than_is_kept_freezes_what_comes_first_and_says_so(place, people, calendar):
    """B120: 250 days, and 601 events of which 600 were over, refused the whole calendar."""
    today = timezone.now().date()
    over = [event(today - timedelta(days=20 + n)) for n in range(0, 1200, 2)]
    calendar.content = with_events(*over, event(today + timedelta(days=3), "DURATION:P300D"))
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    assert freeze_calendars.read_due() == 1
    last = ChangeFreeze.objects.order_by("last_day").last()
    assert last.first_day == today + timedelta(days=3)
    assert last.last_day == last.first_day + timedelta(days=200)
    assert "longer than 200 days" in FreezeCalendar.objects.get().remarks
    calendar.content = with_events(*(event(today + timedelta(days=2 * n)) for n in range(600)))
    assert read_again() == 1
    assert ChangeFreeze.objects.count() == 500
    assert ChangeFreeze.objects.filter(first_day=today).exists()
    assert "100 ranges of days more" in FreezeCalendar.objects.get().remarks


def test_its_address_lies_in_vault_only(stack, place, people, calendar):
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    freeze_calendars.read_due()
    calendar.status = 500
    read_again()
    assert leakscan.hits(stack, ["private-canary-feed-4417"]) == []


def test_who_may_and_which_address(place, people, calendar):
    with pytest.raises(Denied):
        freeze_calendars.add_feed(people.operator, "Mine", calendar.url)
    for odd in ("http://10.0.0.1/a.ics", "ftp://example.com/a.ics", "https://me:x@example.com/"):
        with pytest.raises(BadInput):
            freeze_calendars.add_feed(people.owner, "Odd", odd)
    freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    with pytest.raises((Conflict, BadInput)):
        freeze_calendars.add_feed(people.owner, "Company", calendar.url)
    assert FreezeCalendar.objects.count() == 1


def test_the_calendar_page_takes_a_file_or_an_address(client, place, people, calendar):
    as_(client, people.owner)
    file = SimpleUploadedFile("freezes.ics", CALENDAR, "text/calendar")
    page = client.post("/calendar/import", {"ics-file": file}, follow=True)
    assert "2 freezes were added" in text(page)
    assert "Black Friday" in text(client.get("/calendar/?month=2030-11"))
    assert "Year end" in text(client.get("/calendar/?month=2035-12")), "again each year"
    odd = CALENDAR.replace(b"DTEND;VALUE=DATE:20301203", b"DTEND;VALUE=DATE:2030-12-03")
    file = SimpleUploadedFile("freezes.ics", odd, "text/calendar")
    page = client.post("/calendar/import", {"ics-file": file}, follow=True)
    assert "“Black Friday” cannot be read exactly" in text(page)
    over = SimpleUploadedFile("freezes.ics", with_events(event(date(2020, 1, 1))), "text/calendar")
    assert "No event of it freezes" in text(client.post("/calendar/import", {"ics-file": over}))
    bad = SimpleUploadedFile("freezes.ics", b"hello", "text/calendar")
    refused = client.post("/calendar/import", {"ics-file": bad})
    assert refused.status_code == 400
    assert "no iCalendar file" in text(refused)
    assert client.post("/calendar/import", {}).status_code == 400
    sent = {"ics-name": "Company", "ics-url": calendar.url}
    page = client.post("/calendar/import", sent, follow=True)
    assert "is read within a minute" in text(page)
    assert "private-canary" not in text(page)
    feed = FreezeCalendar.objects.get()
    client.post("/calendar/import/end", {"feed": feed.pk})
    assert not FreezeCalendar.objects.exists()
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
    assert date(2030, 1, 31) == ChangeFreeze.objects.get().first_day
