"""The error tracker: whatever breaks, nothing that is sent holds a secret in any form."""

import base64
import json
import os
import secrets
import subprocess
import sys
from urllib.parse import quote

import pytest

from tests.conftest import ROOT

CANARY = "canary" + secrets.token_hex(16)
# Breaks in many places, each with the canary in locals, messages, causes, or the request.
SCRIPT = """
import os, sys, json, logging, django
from django.conf import settings
os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
django.setup()
import sentry_sdk
from sentry_sdk.transport import Transport
from keyvault.core import error_reporting
from keyvault.core.secret import Secret

class Sink(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            print(json.dumps(item.payload.json, default=str))

error_reporting.start("https://public@tracker.example/1", "tests", transport=Sink)
canary = sys.stdin.read()
secret = Secret(canary)

def local_variable():
    plain = secret.reveal()
    raise RuntimeError("broken")

def message():
    raise ValueError(f"no good: {canary}")

def cause():
    try:
        message()
    except ValueError as error:
        raise RuntimeError("wrapped") from error

def deep():
    raise RuntimeError({"a": [{"b": (canary,)}]})

def task():
    from keyvault.celery import app
    @app.task(name="breaks")
    def breaks(text):
        raise RuntimeError(f"task {text}")
    app.conf.task_always_eager = True
    app.conf.task_eager_propagates = True
    breaks.delay(canary)

def logged():
    logging.getLogger("keyvault").error("logged %s", canary, extra={"field": canary})

def page():
    from django.test import Client
    from keyvault.models import Member
    from django.test.utils import override_settings
    with override_settings(FINGERPRINT_KEY=None, ALLOWED_HOSTS=["*"]):
        client = Client(raise_request_exception=False, HTTP_AUTHORIZATION="Bearer " + canary)
        client.force_login(Member.objects.get(email="owner@example.com"))
        place = json.loads(os.environ["PLACE"])
        client.cookies["theirs"] = canary
        answer = client.post("/keys/new/?hint=" + canary, {**place, "secret": canary})
        assert answer.status_code == 500, answer.status_code

for act in (local_variable, message, cause, deep, task, logged, page):
    try:
        act()
    except Exception as error:
        sentry_sdk.capture_exception(error)
"""


def forms(text):
    raw = text.encode()
    yield text
    yield quote(text)
    yield base64.b64encode(raw).decode()[:20]
    yield from (text[start : start + 12] for start in range(0, len(text) - 12, 4))


@pytest.fixture
def events(stack, place, people):
    fields = {
        "account": place.manual_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
        "name": "breaks",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, **stack.environment("web"), "PLACE": json.dumps(fields)},
        input=CANARY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_no_event_holds_a_secret_in_any_form(events):
    """B10: variables, messages, causes, task arguments, log records, bodies, headers, cookies."""
    sent, logged = events
    assert len(sent) >= 7, [event.get("logentry") for event in sent]
    told = json.dumps(sent)
    assert [form for form in forms(CANARY) if form in told] == []
    assert [form for form in forms(CANARY) if form in logged] == []
    assert '"vars"' not in told


def test_an_event_still_says_what_broke_and_where(events):
    sent, _ = events
    kinds = {event["exception"]["values"][-1]["type"] for event in sent if "exception" in event}
    assert {"RuntimeError", "ValueError"} <= kinds
    frames = sent[0]["exception"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "local_variable"
