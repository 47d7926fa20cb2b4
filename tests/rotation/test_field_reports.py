"""What went wrong for real people elsewhere, and does not go wrong here; by the report's id."""

import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings
from django.urls import get_resolver

from keyvault.audit.models import AuditEvent
from keyvault.inventory import keys, versions
from keyvault.inventory.keys import NewKey
from keyvault.models import Application
from keyvault.vault import secret_store
from rotation.consumers import registry, webhooks
from rotation.engine import lifecycle
from rotation.engine.outcomes import Retry
from rotation.engine.transitions import LONGEST_PAUSE, _pause
from rotation.models import HumanTask, Rotation, Step, WaitingFor, WebhookDelivery
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def receiver():
    """Run a receiver whose paths answer what `answers` says (204 without an entry)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append(self.path)
            self.send_response(self.server.answers.get(self.path, 204))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answers = [], {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def send_all():
    WebhookDelivery.objects.filter(state="waiting").update(due_at="2020-01-01T00:00:00Z")
    for delivery_id in webhooks.due():
        webhooks.deliver(delivery_id)


def test_one_consumer_of_three_cannot_be_told(vendor, place, people, key, receiver):
    """B17: only that one is told again, of the same key; the old key lives; a second start joins."""
    base = f"http://127.0.0.1:{receiver.server_port}"
    for name in ("web-1", "web-2", "web-3"):
        registry.add_consumer(
            people.owner, name, place.application, place.environment, webhook_url=f"{base}/{name}"
        )
    receiver.answers["/web-2"] = 500
    rotation = started(people.operator, key)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    for _ in range(3):
        send_all()
    assert sorted(receiver.got) == ["/web-1", "/web-2", "/web-2", "/web-2", "/web-3"]
    assert lifecycle.start(people.operator, key)[1] is False
    step(rotation)
    assert rotation.step == Step.VERIFY
    assert "web-2" in rotation.waiting_text
    assert creates(vendor, place.vendor_api) == 1
    assert vendor.lookup(secret_of(rotation.old_version))["accepted_now"]


def test_a_secret_changed_behind_our_back_leads_back_to_the_old_one(
    stack, vendor, place, people, key
):
    """B52, F4: someone wrote another value into Vault; the old key is given again, a person is told."""
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    new = rotation.new_version
    secret_store.destroy(versions.AREA, new.path)
    secret_store.write_once(versions.AREA, new.path, {"secret": "inf_somebody_elses_value_123"})
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation)
    key.refresh_from_db()
    told = HumanTask.objects.get(kind=HumanTask.Kind.INCIDENT).text
    assert "someone changed it" in told
    assert "get the former key again at once" in told
    assert key.current_id == rotation.old_version_id
    assert vendor.lookup(secret_of(rotation.old_version))["accepted_now"]


@pytest.mark.parametrize(
    "names",
    [("a/b", "c"), ("a", "b/c"), ("..", "."), ("x?y#z", "%2f"), ("é", "e\u0301"), ("🔑", " k")],
)
def test_names_never_become_paths(vendor, place, people, names):
    """B57: whatever things are called, the path in Vault is a random number of its own."""
    application = Application.objects.create(name=names[0])
    made = vendor.create_key(place.vendor_api["id"])
    new = NewKey(place.api_account, place.environment, names[1], application=application)
    version = keys.register_key(people.owner, new, made["key"]).version
    assert isinstance(version.path, uuid.UUID)
    assert secret_of(version) == made["key"]
    key = version.key
    keys.change_key(people.owner, key, name="renamed", purpose="")
    key.refresh_from_db()
    assert secret_of(key.current) == made["key"]


def routes(patterns, prefix=""):
    """Yield every route of the URL configuration with its numbers filled in."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if hasattr(pattern, "url_patterns"):
            if "admin" not in path:
                yield from routes(pattern.url_patterns, path)
        else:
            yield "/" + "".join(
                "1" if part.endswith(">") else part.split("<", 1)[0]
                for part in path.replace("<", "\0<").replace(">", ">\0").split("\0")
            )


def test_no_link_changes_anything(vendor, place, people, key, client):
    """B75: whatever address is opened, by a person, an image tag or a preview, nothing moves."""
    rotation = started(people.operator, key)
    before = Rotation.objects.values().get(pk=rotation.pk)
    client.force_login(people.owner)
    found = {path for path in routes(get_resolver().url_patterns) if "(?P" not in path}
    assert len(found) > 40
    for path in found:
        assert client.get(path).status_code < 500, path
    assert Rotation.objects.values().get(pk=rotation.pk) == before
    assert key.versions.count() == 1
    read = {"audit.read", "audit.exported", "rotation.started", "key.registered"}
    assert set(AuditEvent.objects.values_list("action", flat=True)) <= read | {"token.refused"}


def test_a_refused_create_stops_with_the_vendors_reason(vendor, place, people, key):
    """B93: what the vendor will never accept is not tried again and again."""
    body = {"success": False, "error": "Labels must be lower case", "code": "BAD_LABEL"}
    vendor.fault("create", kind="status", status=400, times=None, body=body)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.FAILED
    assert "Labels must be lower case" in rotation.outcome
    tries = [e for e in vendor.ledger(account=place.vendor_api["id"]) if e["route"] == "create"]
    assert len(tries) == 1
    assert_all_is_well(vendor, place)


@pytest.mark.pure
def test_pauses_grow_are_spread_and_end():
    """B81: neither a loop without pause nor a wait without end."""
    pauses = [[_pause(n, Retry(WaitingFor.VENDOR, "")) for _ in range(50)] for n in range(40)]
    assert all(1 <= pause <= LONGEST_PAUSE * 1.25 for row in pauses for pause in row)
    assert min(pauses[9]) > max(pauses[4]) > max(pauses[0])
    assert len({round(pause, 3) for pause in pauses[20]}) > 10
    tries, passed = 0, 0.0
    while passed < 6 * 3600:
        passed += _pause(tries, Retry(WaitingFor.VENDOR, ""))
        tries += 1
    assert tries < 90


@pytest.mark.pure
def test_ticks_do_not_pile_up():
    """B82: a message that nobody took in time is worth nothing any more."""
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        # The pulse goes to whoever listens now, and is kept for nobody.
        assert name == "pulse" or 0 < entry["options"]["expires"] <= entry["schedule"], name
