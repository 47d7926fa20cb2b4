"""When a key ends, however a vendor or a person writes it: the earliest UTC moment, or an error."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone

from keyvault.console.forms.keys import RegisterForm
from keyvault.core.dates import FARTHEST, end_as_typed, moment
from keyvault.core.errors import BadInput
from keyvault.models import KeyVersion
from keyvault.templatetags.console_tags import expiry
from tests.api_client import Api, new_key
from tests.commands import manage

pure = pytest.mark.pure
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
# UTC+13, UTC-11, and a zone whose clocks change in the week of 2027-03-10.
ZONES = ["Pacific/Tongatapu", "Pacific/Niue", "America/New_York", "UTC"]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pure
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2027-03-10", utc(2027, 3, 10)),
        ("2027-03-10T00:00:00+13:00", utc(2027, 3, 9, 11)),
        ("2027-03-10T00:00:00-11:00", utc(2027, 3, 10, 11)),
        ("2027-03-14T02:30:00-05:00", utc(2027, 3, 14, 7, 30)),
        ("2027-03-14T03:30:00-04:00", utc(2027, 3, 14, 7, 30)),
        ("2027-03-10T18:00:00.123456Z", utc(2027, 3, 10, 18, 0, 0, 123456)),
        ("2027-03-10t18:00z", utc(2027, 3, 10, 18)),
        ("2027-03-10 18:00", utc(2027, 3, 10, 18)),
        (" 2027-03-10T18:00+0100\n", utc(2027, 3, 10, 17)),
        ("9999-12-31T23:59:59-11:00", FARTHEST),
        ("9999-12-31", FARTHEST),
        ("0001-01-01T00:00+13:00", utc(1, 1, 3)),
    ],
)
@pytest.mark.parametrize("zone", ZONES)
def test_a_date_ends_at_its_start_in_utc_and_offsets_count(text, wanted, zone):
    """B41: the zone of the organisation or of the machine changes nothing."""
    with timezone.override(ZoneInfo(zone)):
        assert moment(text) == wanted
        assert moment(text).utcoffset() == timedelta(0)


@pure
@pytest.mark.parametrize(
    "text",
    [
        *("", "never", "null", "soon", "2027-02-30", "2027-3-1", "20270310", "2027-W10-3"),
        *("1799999999", "2027-03-10T25:00", "2027-03-10T18", "2027-03-10T18:00+25:00"),
        *("2027-03-10\0", "10.03.2027"),
    ],
)
def test_what_is_no_date_is_an_error_and_never_a_guess(text):
    with pytest.raises(ValueError):
        moment(text)


@pure
def test_an_empty_end_is_not_known_and_a_past_one_is_refused():
    """B41, B40: today's date has ended already; nobody is told so by a key that stops at once."""
    assert end_as_typed(" ", NOW) is None
    assert end_as_typed("2026-11-26", NOW) == utc(2026, 11, 26)
    for past in ("2026-11-25", "2026-11-25T12:00", "2026-11-25T13:00+01:00"):
        with pytest.raises(BadInput, match="has passed") as caught:
            end_as_typed(past, NOW)
        assert caught.value.code == "past_expiry"
    with pytest.raises(BadInput, match="2027-03-10") as caught:
        end_as_typed("soon", NOW)
    assert caught.value.code == "bad_expiry"


@pure
@pytest.mark.parametrize("zone", ZONES)
def test_pages_show_the_zone_and_the_time_that_is_left(zone):
    """B41: and that nothing is known of an end is not shown as "never"."""
    with time_machine.travel(NOW, tick=False), timezone.override(ZoneInfo(zone)):
        shown = expiry(utc(2026, 12, 7, 12))
        assert "in 12 d" in shown
        assert "2026-12-07 12:00 UTC" in shown
        assert "3 h ago" in expiry(NOW - timedelta(hours=3))
        assert "no expiry known" in expiry(None)
        assert "9000-01-01 00:00 UTC" in expiry(FARTHEST)


@pytest.mark.parametrize("zone", ZONES)
def test_the_form_takes_a_local_time_or_a_date(people, place, zone):
    """B41: the time is that of the page, whose zone it names; a date is the same everywhere."""
    local = ZoneInfo(zone)
    with timezone.override(local):
        form = RegisterForm(people.owner, {"expires_at": "2027-03-10T18:00"})
        form.is_valid()
        assert form.cleaned_data["expires_at"] == datetime(2027, 3, 10, 18, tzinfo=local)
        assert f"In {timezone.get_current_timezone_name()} time" in form["expires_at"].help_text
        form = RegisterForm(people.owner, {"expires_at": "2027-03-10"})
        form.is_valid()
        assert form.cleaned_data["expires_at"] == utc(2027, 3, 10)
        for bad in ("2027-02-30", "2020-03-10", "soon"):
            form = RegisterForm(people.owner, {"expires_at": bad})
            assert "expires_at" in form.errors


def test_the_form_refuses_a_time_that_a_clock_change_skips(people, place):
    with timezone.override(ZoneInfo("America/New_York")):
        form = RegisterForm(people.owner, {"expires_at": "2027-03-14T02:30"})
        assert "expires_at" in form.errors


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2027-03-10", utc(2027, 3, 10)),
        ("2027-03-10T18:00:00+13:00", utc(2027, 3, 10, 5)),
        (None, None),
    ],
)
def test_the_api_stores_the_end_in_utc(vendor, place, people, given, wanted):
    """B41: null means that no end is known."""
    made = vendor.create_key(place.vendor_api["id"])
    answer = Api(people.owner).post("keys/", new_key(place, secret=made["key"], expires_at=given))
    assert answer.status == 201
    assert KeyVersion.objects.get().expires_at == wanted


@pytest.mark.parametrize(
    ("given", "code"), [("2020-01-01", "past_expiry"), ("soon", "bad_expiry"), (7, "bad_expiry")]
)
def test_the_api_refuses_an_end_that_has_passed_or_is_none(vendor, place, people, given, code):
    made = vendor.create_key(place.vendor_api["id"])
    answer = Api(people.owner).post("keys/", new_key(place, secret=made["key"], expires_at=given))
    assert (answer.status, answer.code) == (400, code)
    assert not KeyVersion.objects.exists()


def test_registerkey_takes_an_end(stack, vendor, place, people):
    """B41: the same rules as everywhere."""
    made = vendor.create_key(place.vendor_api["id"])
    where = ["--account", "sandbox", "--environment", "development", "--application", "billing"]
    call = ["registerkey", *where, "--name", "reports", "--json", "--expires"]
    taken = manage(stack, *call, "2027-03-10T18:00+01:00", stdin=made["key"])
    assert taken.code == 0
    assert "2027-03-10T17:00" in taken.out
    assert KeyVersion.objects.get().expires_at == utc(2027, 3, 10, 17)
