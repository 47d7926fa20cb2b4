"""Webhooks: signed, without a secret, retried with one id, never to where they must not go."""

import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.test import override_settings
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from rotation.consumers import registry, webhooks
from rotation.models import Consumer, Step, WebhookDelivery
from tests.factories import make_key, secret_of
from tests.rotation.driving import drive, started


@pytest.fixture
def receiver():
    """Run a real receiver that answers with `status` and keeps what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((dict(self.headers), body))
            self.send_response(self.server.status)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status, server.headers = [], 204, {}
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def switched(vendor, place, people, receiver):
    """Return a consumer with a webhook whose key has just been switched."""
    key = make_key(vendor, place, people.owner)
    new = registry.add_consumer(
        people.owner, "web-1", place.application, place.environment, webhook_url=receiver.url
    )
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    key.refresh_from_db()
    return new, key


def send():
    WebhookDelivery.objects.filter(state="waiting").update(
        due_at=timezone.now() - timedelta(seconds=1)
    )
    for delivery_id in webhooks.due():
        webhooks.deliver(delivery_id)
    return WebhookDelivery.objects.get()


def test_it_tells_which_key_changed_and_never_the_secret(switched, receiver):
    new, key = switched
    assert send().state == "sent"
    headers, body = receiver.got[0]
    headers = {name.lower(): value for name, value in headers.items()}
    said = Webhook(new.webhook_secret.reveal()).verify(body, headers)
    assert said["key_id"] == key.pk
    assert said["version"] == 2
    assert secret_of(key.current).encode() not in body


def test_a_failed_delivery_is_sent_again_under_the_same_id(switched, receiver):
    receiver.status = 500
    assert send().state == "waiting"
    receiver.status = 200
    assert send().state == "sent"
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert (len(receiver.got), len(ids)) == (2, 1)


def age(by):
    """Let the delivery be so old."""
    WebhookDelivery.objects.update(created_at=timezone.now() - by)


def pause():
    """Return how many seconds from now it is sent again."""
    return (WebhookDelivery.objects.get().due_at - timezone.now()).total_seconds()


def test_it_goes_on_for_a_day_with_growing_pauses(switched, receiver):
    """F14: a receiver that is away for minutes, or a night, misses nothing."""
    receiver.status = 503
    pauses = []
    for _ in range(16):
        assert send().state == "waiting"
        pauses.append(round(pause(), -1))
    assert pauses == sorted(pauses)
    assert pauses[0] < 5
    assert 3500 < pauses[-1] <= 3600
    age(timedelta(hours=23, minutes=59))
    assert send().state == "waiting"
    assert pause() < 70, "the last try comes at the end of the day"


def test_it_gives_up_after_a_day_and_tells_a_person(switched, receiver):
    """F14: until then nobody was told."""
    from rotation.models import HumanTask, Notification
    from rotation.notifications import triggers

    _, key = switched
    receiver.status = 503
    send()
    assert not HumanTask.objects.filter(about__startswith="webhook:").exists()
    age(webhooks.GIVE_UP_AFTER + timedelta(seconds=1))
    delivery = send()
    assert (delivery.state, delivery.last_error) == ("failed", "Answered 503.")
    task = HumanTask.objects.get(about__startswith="webhook:")
    assert task.key == key
    assert "web-1" in task.text
    assert "Answered 503" in task.text
    triggers.scan()
    assert Notification.objects.filter(task=task).exists()


def test_the_task_closes_when_the_consumer_is_told_or_has_moved_or_is_gone(switched, receiver):
    from keyvault.models import KeyVersion
    from rotation.models import Acknowledgement, HumanTask

    new, key = switched
    for settle in ("told", "moved", "gone"):
        Acknowledgement.objects.all().delete()
        receiver.status = 410
        WebhookDelivery.objects.update(
            state="waiting", due_at=timezone.now() - timedelta(seconds=1)
        )
        send()
        task = HumanTask.objects.get(about__startswith="webhook:", closed_at=None)
        webhooks.close_settled()
        task.refresh_from_db()
        assert task.closed_at is None
        if settle == "told":
            receiver.status = 204
            WebhookDelivery.objects.update(
                state="waiting", due_at=timezone.now() - timedelta(seconds=1)
            )
            send()
        elif settle == "moved":
            version = KeyVersion.objects.get(pk=key.current_id)
            Acknowledgement.objects.create(
                consumer=new.consumer, key=key, version=version, at=timezone.now()
            )
        else:
            Consumer.objects.update(active=False)
        webhooks.close_settled()
        task.refresh_from_db()
        assert task.closed_at, settle


def http_date(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (lambda: "600", 590, 600),
        (lambda: http_date(600), 590, 601),
        (lambda: "1", 0, 3),
        (lambda: "-5", 0, 3),
        (lambda: "9" * 400, 6 * 3600 - 10, 6 * 3600),
        (lambda: http_date(10**8), 6 * 3600 - 10, 6 * 3600),
        (lambda: http_date(-600), 0, 3),
        (lambda: "soon", 0, 3),
        (lambda: "\u00b2", 0, 3),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_long_as_it_is_asked_to(switched, receiver, status, asked, least, most):
    """F14: Retry-After as seconds or as a date, within bounds; nonsense counts for nothing."""
    receiver.status, receiver.headers = status, {"Retry-After": asked()}
    assert send().state == "waiting"
    assert least <= pause() <= most


def test_a_gone_receiver_is_not_asked_again(switched, receiver):
    receiver.status = 410
    assert send().state == "failed"


def test_a_redirect_is_a_failure(switched, receiver):
    """TM-22: a signed message never follows a redirect."""
    receiver.status = 302
    assert send().state == "waiting"
    assert len(receiver.got) == 1


def test_loopback_is_refused_outside_a_sandbox(switched, receiver):
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        delivery = send()
    assert (delivery.state, receiver.got) == ("failed", [])
    assert "not allowed" in delivery.last_error


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "100.64.0.1",
        "0.0.0.0",
        "[fd00::1]",
        "2130706433",
        "0x7f.1",
    ],
)
def test_private_addresses_are_never_called(switched, host):
    """TM-20: whatever the name looks like, the address behind it decides."""
    Consumer.objects.update(webhook_url=f"https://{host}/hook")
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        delivery = send()
    assert delivery.state == "failed"
    assert "not allowed" in delivery.last_error


def test_two_senders_send_it_once(switched, receiver):
    """B49: a second worker finds the delivery claimed."""
    delivery_id = webhooks.due()[0]
    threads = [threading.Thread(target=_deliver, args=(delivery_id,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 1


def _deliver(delivery_id):
    from django.db import connections

    webhooks.deliver(delivery_id)
    connections.close_all()


def test_a_later_version_overtakes_what_was_not_sent(vendor, place, people, switched, receiver):
    _, key = switched
    from rotation.models import Rotation

    Rotation.objects.update(reason="leak")
    drive(Rotation.objects.get())
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    assert [d.state for d in WebhookDelivery.objects.order_by("pk")] == ["failed", "waiting"]
    assert json.dumps(webhooks.payload(WebhookDelivery.objects.latest("pk")))


def test_a_webhook_whose_secret_is_gone_ends_as_failed(switched, receiver):
    """B54: a secret lost in Vault is told like any failure; the delivery is not tried for ever."""
    from keyvault.vault import secret_store

    secret_store.destroy(webhooks.WEBHOOKS, switched[0].consumer.webhook_path)
    assert send().state == "waiting"
    age(webhooks.GIVE_UP_AFTER + timedelta(seconds=1))
    delivery = send()
    assert (delivery.state, receiver.got) == ("failed", [])
    assert "Vault has nothing" in delivery.last_error


def test_a_receiver_that_drips_its_answer_holds_nobody(switched, caplog):
    """CO-3: the whole call has an end, not only each byte of it."""
    import time

    from tests.rotation.providers.sockets import dripping, talking

    with talking(dripping(b"HTTP/1.1 200 OK\r\n", b"X")) as url:
        Consumer.objects.update(webhook_url=f"{url}/hook")
        began = time.monotonic()
        webhooks.deliver(webhooks.due()[0], seconds=1.0)
    delivery = WebhookDelivery.objects.get()
    assert time.monotonic() - began < 5
    assert (delivery.state, delivery.last_error) == (
        "waiting",
        "The receiver answered too slowly.",
    )
    # What strangers send is never logged as it came.
    assert "unparsed" not in caplog.text
