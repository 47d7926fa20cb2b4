"""Chats and programs are told too; their addresses lie in Vault. And the page, and the API."""

import json
import threading
from collections.abc import Iterator
from datetime import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client
from standardwebhooks.webhooks import Webhook

from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.models import ApiKey, Application
from rotation.human_tasks import open_alert
from rotation.models import (
    HumanTask,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationPreference,
)
from rotation.notifications import apprise, channels, preferences, triggers
from tests import leakscan
from tests.api_client import Api, sign_in
from tests.rotation.test_notices import ACTOR, Sink, ends_in, key, mails, send_all

__all__ = ["key", "mails"]


@pytest.fixture
def receiver() -> Iterator[Any]:
    """Run a real receiver that keeps what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((dict(self.headers), body))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}/services/T0/canary-hook-path-7741"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_further_chat_is_told_by_apprise_and_its_address_lies_in_vault(
    stack: Any, receiver: Any, people: Any, key: ApiKey
) -> None:
    """Apprise speaks to the sandbox's receiver in a form of its own, as it does to each service."""
    url = receiver.url.replace("http://", "json://")
    hook = channels.add_channel(people.owner, "Teams", NotificationChannel.Kind.APPRISE, url).hook
    ends_in(key, days=29)
    triggers.scan()
    send_all()
    [(_, body)] = receiver.got
    said = json.loads(body)
    notice = Notification.objects.get(kind=Notification.Kind.EXPIRY)
    assert said["title"] == notice.title
    assert notice.text in said["message"]
    assert f"{notice.link}" in said["message"]
    assert NotificationDelivery.objects.get(hook=hook).state == NotificationDelivery.State.SENT
    assert (
        leakscan.hits(stack, ["canary-hook-path-7741"], [json.dumps([str(hook), hook.host])]) == []
    )


def test_a_service_that_does_not_take_a_message_is_tried_again(
    receiver: Any, people: Any, key: ApiKey
) -> None:
    url = receiver.url.replace("http://", "json://")
    hook = channels.add_channel(people.owner, "Teams", NotificationChannel.Kind.APPRISE, url).hook
    receiver.status = 500
    ends_in(key, days=29)
    triggers.scan()
    send_all()
    message = NotificationDelivery.objects.get(hook=hook)
    assert (message.state, message.last_error) == ("waiting", "The service did not take it.")
    assert message.due_at is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example.com/hook",
        "json://10.0.0.1/path",
        "jsons://internal.example.com/",
        "mailto://user:pass@example.com",
        "file:///etc/passwd",
        "syslog://",
        "slack://",
        "workflows://10.0.0.1/workflow/signature",
        "discord://1234567890/abcdefghijklmnopqrstuvwxyz?template=/etc/hostname",
        "workflows://prod-01.westus.logic.azure.com/a/b?template=http://10.0.0.1/",
        "json://127.0.0.1:80@10.0.0.1/path",
        "workflows://logic.azure.com.example.com/workflow/signature",
        "tgram://not-a-bot",
        "discord://id/token\n",
        "",
    ],
)
def test_apprise_is_let_to_services_with_a_fixed_address_only(people: Any, url: str) -> None:
    with pytest.raises(BadInput) as caught:
        channels.add_channel(people.owner, "odd", NotificationChannel.Kind.APPRISE, url)
    assert "Nothing was stored." in caught.value.message
    assert not NotificationChannel.objects.exists()


def test_no_address_of_ones_own_is_let_through_outside_of_a_sandbox(
    people: Any, receiver: Any, settings: Any
) -> None:
    settings.ALLOW_LOOPBACK_TARGETS = False
    url = receiver.url.replace("http://", "json://")
    with pytest.raises(BadInput):
        channels.add_channel(people.owner, "odd", NotificationChannel.Kind.APPRISE, url)


@pytest.mark.pure
@pytest.mark.parametrize(
    "url",
    [
        "workflows://prod-01.westus.logic.azure.com/643e69f83c8944438d68119179a10a64/x4q5",
        "discord://1234567890/abcdefghijklmnopqrstuvwxyz",
        "tgram://123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/12315544/",
    ],
)
def test_services_are_known_by_their_address(url: str) -> None:
    assert apprise.require_usable(url) in apprise.SERVICES.values()


@pytest.mark.pure
def test_each_named_service_is_one_that_apprise_knows() -> None:
    from apprise import Apprise

    known = {
        scheme for one in Apprise().details()["schemas"] for scheme in one["secure_protocols"] or []
    }
    assert set(apprise.SERVICES) <= known


def test_a_chat_and_a_program_are_told_and_their_addresses_lie_in_vault(
    stack: Any, receiver: Any, people: Any, key: ApiKey
) -> None:
    """The address of a chat's webhook is as good as a password; the leak scan looks for it."""
    chat = channels.add_channel(people.owner, "#ops", NotificationChannel.Kind.CHAT, receiver.url)
    program = channels.add_channel(
        people.owner, "pager", NotificationChannel.Kind.SIGNED, receiver.url, only_urgent=True
    )
    assert chat.secret is None
    assert program.secret is not None
    ApiKey.objects.update(name="a <!channel> & b")
    ends_in(key, days=29)
    triggers.scan()
    send_all()
    assert len(receiver.got) == 1, "the pager is told of what is urgent only"
    text = json.loads(receiver.got[0][1])["text"]
    assert "&lt;!channel&gt; &amp; b" in text
    open_alert(ACTOR, HumanTask.Kind.INCIDENT, "refused:1", "It is refused.", key=key)
    triggers.scan()
    send_all()
    signed = [
        one
        for one in receiver.got
        if "Webhook-Signature" in one[0] or "webhook-signature" in one[0]
    ]
    headers, body = signed[0]
    said = Webhook(program.secret.reveal()).verify(body, {k.lower(): v for k, v in headers.items()})
    assert said["data"]["key_id"] == key.pk
    hidden = ["canary-hook-path-7741", program.secret.reveal()]
    assert leakscan.hits(stack, hidden, [json.dumps([str(chat.hook), chat.hook.host])]) == []


def test_a_hook_that_is_away_is_tried_again_and_one_that_is_gone_is_not(
    receiver: Any, people: Any, key: ApiKey
) -> None:
    hook = channels.add_channel(
        people.owner, "#ops", NotificationChannel.Kind.CHAT, receiver.url
    ).hook
    receiver.status = 503
    channels.send_test(people.owner, hook)
    send_all()
    assert NotificationDelivery.objects.get(channel="hook").state == "waiting"
    receiver.status = 410
    send_all()
    assert NotificationDelivery.objects.get(channel="hook").state == "failed"
    receiver.status = 200
    channels.send_test(people.owner, hook)
    send_all()
    assert "A test to #ops" in json.loads(receiver.got[-1][1])["text"]


def test_a_hook_is_told_of_its_application_only(
    receiver: Any, vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    other = Application.objects.create(name="Other")
    channels.add_channel(
        people.owner, "#other", NotificationChannel.Kind.CHAT, receiver.url, application=other
    )
    ends_in(key, days=29)
    triggers.scan()
    assert not NotificationDelivery.objects.filter(channel="hook").exists()


def test_bad_hooks_and_wishes_are_refused_with_words(people: Any) -> None:
    add = channels.add_channel
    with pytest.raises(Denied):
        add(people.operator, "x", NotificationChannel.Kind.CHAT, "https://hooks.example.com/x")
    for url in ("http://hooks.example.com/x", "https://[::1", "https://u:p@example.com/"):
        with pytest.raises(BadInput):
            add(people.owner, "x", NotificationChannel.Kind.CHAT, url)
    add(people.owner, "x", NotificationChannel.Kind.CHAT, "https://hooks.example.com/x")
    with pytest.raises(Conflict):
        add(people.owner, "x", NotificationChannel.Kind.CHAT, "https://hooks.example.com/x")
    base: dict[str, Any] = {"mail": True, "only_urgent": False, "weekly": True}
    with pytest.raises(BadInput, match="time zone"):
        preferences.set_preference(people.viewer, **base, time_zone="Mars/Olympus")
    with pytest.raises(BadInput, match="a beginning and an end"):
        preferences.set_preference(people.viewer, **base, time_zone="UTC", quiet_from=time(22))
    assert not NotificationPreference.objects.exists()


def test_the_page_shows_what_i_was_told_and_changes_how(
    mails: Sink, receiver: Any, people: Any, key: ApiKey
) -> None:
    ends_in(key, days=2)
    triggers.scan()
    client = sign_in(Client(), people.owner)
    page = client.get("/notices/").content.decode()
    assert "ends within 3 days" in page
    assert ">new<" in page
    assert ">new<" not in client.get("/notices/").content.decode()
    wish = {"mail": "on", "time_zone": "Europe/Berlin", "quiet_from": "22:00", "quiet_to": "07:00"}
    client.post("/notices/wish", wish)
    chosen = NotificationPreference.objects.get(member=people.owner)
    assert (chosen.time_zone, chosen.weekly, chosen.quiet_to) == ("Europe/Berlin", False, time(7))
    assert client.post("/notices/wish", {**wish, "time_zone": "x"}).status_code == 400
    form = {"name": "#ops", "kind": "chat", "url": receiver.url}
    client.post("/notices/hooks", form)
    hook = NotificationChannel.objects.get()
    page = client.get("/notices/").content.decode()
    assert "127.0.0.1" in page
    assert "canary-hook-path" not in page
    client.post(f"/notices/hooks/{hook.pk}/test")
    client.post("/notices/test")
    send_all()
    assert receiver.got
    page = client.get("/notices/").content.decode()
    assert "A test to owner@example.com" in page
    added = client.post("/notices/hooks", {**form, "name": "pager", "kind": "signed"}, follow=True)
    assert "whsec_" in added.content.decode()
    assert "no-store" in added["Cache-Control"]
    client.post(f"/notices/hooks/{hook.pk}/remove")
    assert NotificationChannel.objects.count() == 1
    viewer = sign_in(Client(), people.viewer)
    assert "Who else is told" not in viewer.get("/notices/").content.decode()
    assert viewer.post("/notices/hooks", form).status_code == 403
    stale = sign_in(Client(), people.owner, proved=False)
    assert "reauthenticate" in stale.post("/notices/hooks", {**form, "name": "y"})["Location"]


def test_the_api_of_notices(receiver: Any, people: Any, key: ApiKey) -> None:
    ends_in(key, days=2)
    triggers.scan()
    owner, viewer = Api(people.owner), Api(people.viewer)
    assert owner.get("notices/").json["results"][0]["kind"] == "expiry"
    assert viewer.get("notices/").json["results"] == []
    assert (
        viewer.call("PUT", "notices/preference", {"mail": False, "time_zone": "UTC"}).status == 200
    )
    assert viewer.get("notices/preference").json["mail"] is False
    assert viewer.get("hooks/").status == 403
    made = owner.post("hooks/", {"name": "p", "kind": "signed", "url": receiver.url})
    assert made.json["signing_secret"].startswith("whsec_")
    number = made.json["hook"]["id"]
    assert "url" not in made.json["hook"]
    assert owner.post(f"hooks/{number}/test", {}).status == 202
    assert owner.call("DELETE", f"hooks/{number}/").status == 204
    assert owner.call("DELETE", f"hooks/{number}/").status == 404
