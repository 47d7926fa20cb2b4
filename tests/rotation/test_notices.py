"""People are told in time, once for one cause, by every channel; with a real mail server and receiver."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.models import ApiKey, KeyVersion, Member, Role
from rotation.human_tasks import close_alert, open_alert
from rotation.models import (
    Heartbeat,
    HumanTask,
    Notification,
    NotificationDelivery,
    NotificationPreference,
    Rotation,
    RotationPolicy,
)
from rotation.notifications import delivery, digest, preferences, triggers
from rotation.notifications.quiet_hours import due_for
from rotation.scheduling import pauses, policies
from tests import leakscan
from tests.api_client import counting
from tests.factories import grant, make_key, make_member, secret_of, show

ACTOR = system_actor("test")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Sink:
    """Takes every mail, or refuses it."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.refuse = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse:
            return "451 try again later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.got.append((envelope.rcpt_tos, mail))
        return "250 taken"


@pytest.fixture
def mails(settings: Any) -> Iterator[Sink]:
    """Run a real SMTP server and have the service send there."""
    sink = Sink()
    server = Controller(sink, hostname="127.0.0.1", port=free_port())
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = server.port
    yield sink
    server.stop()


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    return make_key(vendor, place, people.owner, name="billing")


def send_all() -> None:
    NotificationDelivery.objects.filter(state="waiting").update(
        due_at=timezone.now() - timedelta(seconds=1)
    )
    for number in delivery.due():
        delivery.deliver(number)


def told(kind: str = "") -> list[tuple[str, set[str]]]:
    """Return each notice's title with the addresses of those who were told in the console."""
    found = []
    for notice in Notification.objects.filter(kind=kind) if kind else Notification.objects.all():
        who = notice.messages.filter(channel="console").values_list("member__email", flat=True)
        found.append((notice.title, {str(one).split("@")[0] for one in who}))
    return found


def ends_in(key: ApiKey, **left: float) -> None:
    KeyVersion.objects.filter(key=key, state="current").update(
        expires_at=timezone.now() + timedelta(**left)
    )


def test_the_ladder_tells_the_owner_then_the_team_then_the_owners_of_everything(
    place: Any, people: Any, key: ApiKey
) -> None:
    """Each rung once; whoever was away for a week is told the present rung and no older one."""
    ApiKey.objects.update(created_by=people.developer)
    ends_in(key, days=40)
    assert triggers.scan() == 0
    ends_in(key, days=29)
    assert (triggers.scan(), triggers.scan()) == (1, 0)
    assert told("expiry") == [(f"{key} ends within 30 days", {"developer"})]
    ends_in(key, days=6)
    assert triggers.scan() == 1
    title, who = told("expiry")[0]
    assert title.endswith("ends within 7 days")
    assert {"developer", "operator"} <= who
    ends_in(key, hours=20)
    triggers.scan()
    assert {"developer", "operator", "owner"} <= told("expiry")[0][1]
    assert Notification.objects.filter(urgent=True).count() == 1
    ends_in(key, hours=-1)
    triggers.scan()
    assert told("expiry")[0][0].endswith("has ended")
    assert Notification.objects.count() == 4
    ends_in(key, days=-30)
    assert triggers.scan() == 0


def test_who_recorded_a_key_and_may_see_it_no_more_is_not_its_owner(
    people: Any, key: ApiKey
) -> None:
    """The team is told in their place, at once: nobody learns from the outage."""
    ApiKey.objects.update(created_by=people.outsider)
    ends_in(key, days=29)
    triggers.scan()
    who = told("expiry")[0][1]
    assert "outsider" not in who
    assert "operator" in who


def test_a_person_who_left_is_never_written_to(mails: Sink, people: Any, key: ApiKey) -> None:
    ApiKey.objects.update(created_by=people.developer)
    ends_in(key, days=29)
    triggers.scan()
    Member.objects.filter(pk=people.developer.pk).update(is_active=False)
    send_all()
    assert mails.got == []
    assert NotificationDelivery.objects.get(channel="mail").state == "dropped"
    ends_in(key, days=13)
    triggers.scan()
    assert "developer" not in told("expiry")[0][1]
    assert told("expiry")[0][1], "then others hear of it"


def test_an_incident_is_told_at_once_and_its_end_to_the_same_people(
    mails: Sink, people: Any, key: ApiKey
) -> None:
    quiet: dict[str, Any] = {"quiet_from": time(0, 0), "quiet_to": time(23, 59)}
    wish: dict[str, Any] = {"mail": False, "only_urgent": True, "weekly": False, "time_zone": "UTC"}
    for who in (people.owner, people.operator):
        preferences.set_preference(who, **wish, **quiet)
    open_alert(ACTOR, HumanTask.Kind.INCIDENT, "refused:1", "It is refused.", key=key)
    assert (triggers.scan(), triggers.scan()) == (1, 0)
    for number in delivery.due():
        delivery.deliver(number)
    assert {one for to, _ in mails.got for one in to} >= {
        "owner@example.com",
        "operator@example.com",
    }
    close_alert(ACTOR, HumanTask.Kind.INCIDENT, "refused:1", "It works again.")
    assert (triggers.scan(), triggers.scan()) == (1, 0)
    begun, over = told("incident")[0], told("recovery")[0]
    assert over[0].startswith("Over:")
    assert over[1] == begun[1]


def test_what_one_person_did_alone_is_told_to_every_owner(
    mails: Sink, vendor: Any, place: Any, people: Any
) -> None:
    """AC-9: break-glass, with everyone told."""
    second = grant(make_member("second@example.com"), Role.OWNER)
    key = make_key(vendor, place, people.owner, environment=place.production)
    reason = "the night shift cannot reach anybody and the shop is down"
    show(people.developer, key, reason, break_glass=True)
    triggers.scan()
    send_all()
    to = {one for addresses, _ in mails.got for one in addresses}
    assert {"owner@example.com", second.email} <= to
    assert all(reason in mail.get_body(("plain",)).get_content() for _, mail in mails.got)


def test_a_task_is_told_reminded_of_and_told_to_the_owners_then(people: Any, key: ApiKey) -> None:
    open_alert(ACTOR, HumanTask.Kind.FINDING, "x:1", "Look.", key=key)
    triggers.scan()
    assert "owner" in told("task")[0][1]
    HumanTask.objects.update(opened_at=timezone.now() - timedelta(hours=23))
    assert triggers.scan() == 0
    HumanTask.objects.update(opened_at=timezone.now() - timedelta(hours=25))
    assert (triggers.scan(), triggers.scan()) == (1, 0)
    assert told("reminder")[0][0].startswith("Still open")
    assert "owner" in told("reminder")[0][1]


def test_a_failed_and_an_overdue_rotation_are_told_once(people: Any, key: ApiKey) -> None:
    Rotation.objects.create(
        key=key,
        reason="manual",
        requested_by=people.developer,
        step="failed",
        outcome="The vendor said no.",
        overlap_seconds=0,
        quiet_seconds=1,
        step_since=timezone.now(),
        finished_at=timezone.now(),
    )
    wish = policies.Wish(30, time(3, 30), "UTC", overlap_seconds=0, quiet_seconds=1)
    policies.set_policy(people.operator, key, wish)
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(days=1))
    assert (triggers.scan(), triggers.scan()) == (2, 0)
    assert "developer" in told("failed")[0][1]
    assert "The vendor said no." in Notification.objects.get(kind="failed").text
    assert "is overdue" in told("overdue")[0][0]


def test_a_mail_has_text_and_html_and_no_secret(
    stack: Any, mails: Sink, people: Any, key: ApiKey
) -> None:
    """No secret and no full fingerprint is in any message; a name cannot break out of the markup."""
    ApiKey.objects.update(name="<b>billing</b>\u2019s")
    key.refresh_from_db()
    ends_in(key, hours=5)
    triggers.scan()
    send_all()
    _, mail = mails.got[0]
    plain = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    assert f"/keys/{key.pk}/" in plain
    assert "<b>billing" in plain
    assert "&lt;b&gt;billing" in html
    assert "<b>billing" not in html
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "\n" not in mail["Subject"]
    assert key.current is not None
    pages = [one.as_string() for _, one in mails.got]
    assert leakscan.hits(stack, [secret_of(key.current), key.current.fingerprint], pages) == [
        "postgres"
    ], "the fingerprint stands in its own table and nowhere else"


def test_a_mail_server_that_is_away_delays_and_loses_nothing(
    mails: Sink, people: Any, key: ApiKey, settings: Any
) -> None:
    ends_in(key, days=29)
    triggers.scan()
    good, settings.EMAIL_PORT = settings.EMAIL_PORT, 9
    send_all()
    waiting = NotificationDelivery.objects.get(channel="mail")
    assert (waiting.state, waiting.attempt) == ("waiting", 1)
    assert waiting.due_at is not None
    assert waiting.due_at > timezone.now()
    assert "did not take it" in waiting.last_error
    settings.EMAIL_PORT, mails.refuse = good, True
    send_all()
    mails.refuse = False
    send_all()
    assert NotificationDelivery.objects.get(channel="mail").state == "sent"
    assert len(mails.got) == 1
    NotificationDelivery.objects.filter(channel="mail").update(state="waiting")
    Notification.objects.update(created_at=timezone.now() - timedelta(days=4))
    mails.refuse = True
    send_all()
    assert NotificationDelivery.objects.get(channel="mail").state == "failed"


def test_two_senders_send_it_once(mails: Sink, people: Any, key: ApiKey) -> None:
    ends_in(key, days=29)
    triggers.scan()
    number = delivery.due()[0]
    threads = [threading.Thread(target=_deliver, args=[number]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mails.got) == 1


def _deliver(number: int) -> None:
    from django.db import connections

    delivery.deliver(number)
    connections.close_all()


def test_two_scans_at_once_tell_it_once(people: Any, key: ApiKey) -> None:
    ends_in(key, days=29)
    threads = [threading.Thread(target=_scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Notification.objects.count() == 1
    assert NotificationDelivery.objects.filter(channel="console").count() == 1


def _scan() -> None:
    from django.db import connections

    triggers.scan()
    connections.close_all()


@pytest.mark.pure
def test_quiet_hours_postpone_to_their_end_in_the_persons_zone() -> None:
    night = NotificationPreference(time_zone="Europe/Berlin", quiet_from=time(22), quiet_to=time(7))
    at = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)  # half past midnight in Berlin
    assert due_for(night, at, urgent=False) == datetime(2026, 7, 2, 5, 0, tzinfo=UTC)
    assert due_for(night, at, urgent=True) == at
    evening = datetime(2026, 7, 1, 20, 30, tzinfo=UTC)
    assert due_for(night, evening, urgent=False) == datetime(2026, 7, 2, 5, 0, tzinfo=UTC)
    noon = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    assert due_for(night, noon, urgent=False) == noon
    lunch = NotificationPreference(time_zone="UTC", quiet_from=time(12), quiet_to=time(13))
    assert due_for(lunch, noon, urgent=False) == datetime(2026, 7, 1, 13, 0, tzinfo=UTC)
    assert due_for(NotificationPreference(), noon, urgent=False) == noon
    # The hour that a change of the clock skips: quiet ends with the gap.
    spring = NotificationPreference(
        time_zone="Europe/Berlin", quiet_from=time(1), quiet_to=time(2, 30)
    )
    gap = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert due_for(spring, gap, urgent=False) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_the_week_comes_on_monday_morning_where_the_person_is(people: Any, key: ApiKey) -> None:
    ends_in(key, days=20)
    monday = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    import time_machine

    for who in Member.objects.all():
        preferences.set_preference(
            who,
            mail=True,
            only_urgent=False,
            weekly=who == people.viewer or who == people.outsider,
            time_zone="America/New_York" if who == people.viewer else "UTC",
        )
    with time_machine.travel(monday, tick=False) as clock:
        ends_in(key, days=20)
        assert digest.tell_all() == 0, "in New York it is half past three"
        clock.move_to(monday + timedelta(hours=6))
        assert digest.tell_all() == 1
        clock.move_to(monday + timedelta(hours=8))
        assert digest.tell_all() == 0, "once a week"
        text = Notification.objects.get(kind="digest").text
        assert "Ends within 30 days" in text
        assert str(key) in text
        assert told("digest")[0][1] == {"viewer"}, "and whom nothing concerns is left alone"
    assert Heartbeat.objects.filter(name="digest").exists()


def test_a_scan_costs_the_same_whether_there_are_few_keys_or_many(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    ends_in(key, days=20)
    triggers.scan()
    costs = []
    for number in range(2):
        with counting() as statements:
            assert triggers.scan() == 0
        costs.append(len(statements))
        for part in range(4):
            ends_in(make_key(vendor, place, people.owner, name=f"k {number} {part}"), days=20)
        triggers.scan()
    assert costs[0] == costs[1] <= 10
    assert pauses.visible_pauses(people.owner).count() == 0
