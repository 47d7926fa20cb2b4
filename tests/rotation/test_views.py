"""Pages about rotations, tasks, consumers and accounts, asked as a browser would, without one."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from keyvault.console.home import within
from keyvault.delivery import tokens
from keyvault.models import Application, KeyVersion, ServiceToken
from rotation.consumers import registry
from rotation.consumers.holders import of_key as holders
from rotation.models import (
    Consumer,
    Reason,
    Rotation,
    RotationPolicy,
    Step,
    WaitingFor,
)
from tests.factories import make_key
from tests.pages import as_, statements, text
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="Video upload")


@pytest.fixture
def manual(vendor, place, people):
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    return make_key(vendor, place, people.owner, manual=True, name="Nightly export")


@pytest.fixture
def waiting(people, manual):
    """Return a rotation that waits for a person to paste a key."""
    rotation = drive(started(people.operator, manual))
    assert rotation.waiting_for == WaitingFor.KEY
    return rotation


def made(vendor, place):
    return vendor.create_key(place.vendor_manual["id"])["key"]


def test_home_shows_my_task_first(client, people, waiting):
    page = text(as_(client, people.operator).get("/"))
    assert page.index("Make a key and paste it") < page.index("Rotations under way")
    assert "Needs a person" in page
    assert "Nightly export" not in text(as_(client, people.outsider).get("/"))


def test_home_shows_what_is_overdue_and_what_ends_soon(client, people, key, manual):
    now = timezone.now()
    RotationPolicy.objects.create(
        key=key,
        every_days=30,
        at_time="03:00",
        overlap_seconds=0,
        quiet_seconds=1,
        next_run_at=now - timedelta(days=2),
    )
    KeyVersion.objects.filter(key=manual).update(expires_at=now + timedelta(days=5))
    page = text(as_(client, people.viewer).get("/"))
    assert "Overdue" in page
    assert "Expires within 7 days" in page


@pytest.mark.parametrize(("left", "days"), [(-1, 0), (0.5, 1), (2, 7), (8, 14), (20, 30)])
def test_what_ends_soon_is_told_in_four_thresholds(left, days):
    assert within(timezone.now() + timedelta(days=left)) == days


def test_home_forgets_a_failure_that_a_later_rotation_mended(client, people, key):
    failed = Rotation.objects.create(
        key=key,
        step=Step.FAILED,
        reason=Reason.MANUAL,
        overlap_seconds=0,
        quiet_seconds=0,
        step_since=timezone.now(),
        finished_at=timezone.now(),
        outcome="The vendor was down.",
    )
    assert "The vendor was down." in text(as_(client, people.viewer).get("/"))
    Rotation.objects.create(
        key=key,
        step=Step.DONE,
        reason=Reason.MANUAL,
        overlap_seconds=0,
        quiet_seconds=0,
        step_since=timezone.now(),
        finished_at=timezone.now(),
    )
    assert failed.pk
    assert "The vendor was down." not in text(client.get("/"))


def names(client, **query):
    return {row["it"].name for row in client.get("/keys/", query).context["rows"]}


def test_keys_are_found_by_name_by_last_four_and_by_filters(client, place, people, key, waiting):
    as_(client, people.viewer)
    assert names(client) == {"Video upload", "Nightly export"}
    assert names(client, q="video") == {"Video upload"}
    assert names(client, q=key.current.tail) == {"Video upload"}
    assert names(client, account=place.manual_account.pk) == {"Nightly export"}
    assert names(client, environment=place.production.pk) == set()
    assert names(client, application=place.application.pk, state="person") == {"Nightly export"}
    assert names(client, state="rotating") == {"Nightly export"}
    assert names(client, state="unplanned") == {"Video upload", "Nightly export"}
    assert names(client, state="overdue") == names(client, state="refused") == set()


def test_odd_filters_are_refused_or_ignored(client, people, key):
    as_(client, people.viewer)
    assert client.get("/keys/", {"account": "1 OR 1=1"}).status_code == 404
    assert client.get("/keys/", {"after": "9" * 40}).status_code == 404
    assert names(client, q="\x00", state="nonsense") == {"Video upload"}


def test_the_keys_page_offers_only_filters_under_which_there_is_a_key(client, place, people, key):
    options = as_(client, people.viewer).get("/keys/").context["options"]
    assert [label for _, label in options["account"]] == ["Sandbox"]
    assert as_(client, people.outsider).get("/keys/").context["options"]["account"] == []


def test_lists_ask_the_database_no_more_often_with_more_rows(client, vendor, place, people, key):
    as_(client, people.owner)
    addresses = ("/", "/keys/", "/rotations/", "/applications/", "/accounts/")
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    few = [statements(client, address) for address in addresses]
    for number in range(4):
        more = make_key(vendor, place, people.owner, name=f"More {number}")
        started(people.operator, more)
    assert [statements(client, address) for address in addresses] == few
    # Session, person, grants; then one for each kind of row that is shown.
    assert dict(zip(addresses, few, strict=True))["/keys/"] <= 10
    assert max(few) <= 12


def test_keys_page_by_page(client, place, people, key, vendor):
    from keyvault.models import ApiKey

    ApiKey.objects.bulk_create(
        ApiKey(
            account=place.api_account,
            environment=place.environment,
            application=place.application,
            name=f"bulk {number}",
        )
        for number in range(60)
    )
    as_(client, people.viewer)
    first = client.get("/keys/?q=bulk")
    second = client.get("/keys/" + first.context["next"])
    assert (len(first.context["rows"]), len(second.context["rows"])) == (50, 10)
    assert second.context["next"] == ""


def test_the_key_page_shows_versions_consumers_and_timeline(client, place, people, key):
    new = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    page = text(as_(client, people.viewer).get(reverse("key", args=[key.pk])))
    assert key.current.tail in page
    assert "web-1" in page
    assert "Never fetched" in page
    assert "Key registered" in page
    assert new.token.reveal() not in page
    assert "Rotate now" not in page  # a viewer may not


def test_who_holds_what_follows_fetch_and_acknowledgement(place, people, key):
    from keyvault.delivery import fetch

    new = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    token = new.token.reveal()
    assert holders(key)[0].state == "never"
    secret = fetch.fetch(token, key.pk).secret
    assert (holders(key)[0].state, holders(key)[0].version.number) == ("fetched", 1)
    nonce, version = registry.nonce(token, key.pk)
    registry.acknowledge(
        token, key.pk, version, nonce, registry.proof_of(secret, nonce, key.pk, version)
    )
    assert holders(key)[0].state == "acknowledged"
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    key.refresh_from_db()
    assert holders(key)[0].state == "behind"


def rotate(client, key, reason="manual"):
    return client.post(reverse("key-rotate", args=[key.pk]), {"reason": reason}, follow=True)


def test_pressing_rotate_twice_joins_the_run(client, people, key):
    as_(client, people.operator)
    first, second = rotate(client, key), rotate(client, key)
    assert first.redirect_chain == second.redirect_chain
    assert "was running already" in text(second)
    assert Rotation.objects.count() == 1


@pytest.mark.parametrize(
    ("who", "reason", "status"),
    [
        ("operator", "schedule", 400),
        ("operator", "nonsense", 400),
        ("viewer", "manual", 403),
        ("outsider", "manual", 404),
    ],
)
def test_rotate_is_refused(client, people, key, who, reason, status):
    answer = rotate(as_(client, getattr(people, who)), key, reason)
    assert answer.status_code == status
    assert not Rotation.objects.exists()


def test_a_standby_is_kept_and_a_wrong_one_is_not_shown_again(
    client, vendor, place, people, manual
):
    as_(client, people.operator)
    address = reverse("key-standby", args=[manual.pk])
    wrong = client.post(address, {"standby-secret": "inf_" + "x1y2z3w4" * 5})
    assert wrong.status_code == 400
    assert "vendor refuses" in text(wrong)
    assert "x1y2z3w4" not in text(wrong)
    good = client.post(address, {"standby-secret": made(vendor, place)}, follow=True)
    assert "Kept as standby, version 2." in text(good)


def policy(client, key, **changes):
    sent = {
        "every_days": "30",
        "at_time": "03:00",
        "time_zone": "Europe/Berlin",
        "overlap_hours": "1.5",
        "quiet_minutes": "10",
        "enabled": "on",
        **changes,
    }
    return client.post(reverse("key-policy", args=[key.pk]), sent, follow=True)


def test_a_policy_is_set_in_hours_and_minutes(client, people, key):
    answer = policy(as_(client, people.operator), key)
    assert "every 30 days at 03:00 Europe/Berlin" in text(answer)
    saved = RotationPolicy.objects.get(key=key)
    assert (saved.overlap_seconds, saved.quiet_seconds, saved.enabled) == (5400, 600, True)
    assert saved.next_run_at is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"every_days": "0"}, "greater than or equal to 1"),
        ({"time_zone": "Mars/Olympus"}, "not a known time zone"),
        ({"overlap_hours": "-1"}, "greater than or equal to 0"),
        ({"overlap_hours": "nan"}, "Enter a number"),
        ({"every_days": "1", "overlap_hours": "30"}, "shorter than the interval"),
        ({"at_time": "25:99"}, "Enter a valid time"),
    ],
)
def test_an_impossible_policy_is_explained_and_what_was_typed_stays(
    client, people, key, changes, said
):
    answer = policy(as_(client, people.operator), key, **changes)
    assert answer.status_code == 400
    assert said in text(answer)
    assert 'value="10"' in text(answer)
    assert not RotationPolicy.objects.exists()


def test_rotations_are_listed_by_how_they_stand(client, people, key, waiting):
    drive(started(people.operator, key, reason=Reason.LEAK))
    as_(client, people.viewer)

    def shown(query):
        return [row["it"].key.name for row in client.get("/rotations/" + query).context["rows"]]

    assert shown("") == ["Video upload", "Nightly export"]
    assert shown("?show=open") == ["Nightly export"]
    assert shown("?show=done") == ["Video upload"]
    assert shown("?show=failed") == []
    as_(client, people.outsider)
    assert shown("") == []


def consumer(client, place, **changes):
    sent = {"name": "web-1", "environment": place.environment.pk, "webhook_url": "", **changes}
    return client.post(reverse("consumer-add", args=[place.application.pk]), sent)


def test_a_consumer_gets_its_token_once(client, place, people):
    as_(client, people.owner)
    answer = client.get(consumer(client, place, webhook_url="http://127.0.0.1:9/hook")["Location"])
    assert "kvt_" in text(answer)
    assert "whsec_" in text(answer)
    assert "no-store" in answer["Cache-Control"]
    token = ServiceToken.objects.get()
    later = text(client.get(reverse("application", args=[place.application.pk])))
    assert f"kvt_{token.public_id}…" in later
    assert "whsec_" not in later


@pytest.mark.parametrize(
    ("who", "changes", "status"),
    [
        ("owner", {"name": ""}, 400),
        ("owner", {"environment": "999"}, 400),
        ("owner", {"webhook_url": "http://example.com/"}, 400),
        ("owner", {"webhook_url": "https://me:secret@example.com/"}, 400),
        ("operator", {}, 403),
        ("outsider", {}, 404),
    ],
)
def test_a_consumer_is_refused(client, place, people, who, changes, status):
    assert consumer(as_(client, getattr(people, who)), place, **changes).status_code == status
    assert not Consumer.objects.exists()


def test_a_consumer_is_removed_only_with_the_box_ticked(client, place, people):
    as_(client, people.owner)
    consumer(client, place)
    found = Consumer.objects.get()
    address = reverse("consumer-remove", args=[place.application.pk, found.pk])
    assert client.post(address).status_code == 400
    assert as_(client, people.operator).post(address, {"sure": "yes"}).status_code == 404
    as_(client, people.owner)
    answer = client.post(address, {"sure": "yes"}, follow=True)
    assert "its token has ended" in text(answer)
    assert client.post(address, {"sure": "yes"}).status_code == 409
    other = Application.objects.create(name="Other")
    assert client.post(reverse("consumer-remove", args=[other.pk, found.pk])).status_code == 404


def test_a_consumers_token_is_renewed_and_shown_once(client, place, people):
    as_(client, people.owner)
    consumer(client, place)
    found = Consumer.objects.get()
    address = reverse("consumer-renew", args=[place.application.pk, found.pk])
    assert as_(client, people.operator).post(address).status_code == 404
    answer = as_(client, people.owner).post(address, follow=True)
    assert "no-store" in answer["Cache-Control"]
    (shown,) = set(re.findall(r"kvt_[a-z0-9]{12}_\w{42}", text(answer)))
    assert tokens.check(shown).pk == found.token_id
    page = text(client.get(reverse("application", args=[place.application.pk])))
    assert shown not in page
    other = Application.objects.create(name="Other")
    assert client.post(reverse("consumer-renew", args=[other.pk, found.pk])).status_code == 404


def test_owners_add_applications_and_accounts(client, place, people):
    as_(client, people.owner)
    answer = client.post(
        "/applications/", {"name": "Reports", "team": "", "contact": ""}, follow=True
    )
    assert "Reports was added" in text(answer)
    assert client.post("/applications/", {"name": "REPORTS"}).status_code == 409
    sent = {"name": "Second", "provider": "influtics", "base_url": place.manual_account.base_url}
    assert "Second was added" in text(client.post("/accounts/", sent, follow=True))
    wrong = {**sent, "name": "Third", "provider": "sandbox", "management_credential": "mgmt_x*****"}
    answer = client.post("/accounts/", wrong)
    assert answer.status_code == 400
    assert "mgmt_x" not in text(answer)
    as_(client, people.operator)
    assert client.post("/applications/", {"name": "Mine"}).status_code == 403
    assert client.post("/accounts/", sent).status_code == 403


@pytest.mark.parametrize("name", ["rotation", "rotation-live", "task", "task-live", "application"])
@pytest.mark.parametrize("number", [0, 999_999, int("9" * 25)])
def test_unknown_ids_are_not_found(client, people, name, number):
    assert as_(client, people.owner).get(reverse(name, args=[number])).status_code == 404
