"""Each request has an id of ours, and the audit log knows it and where the request came from."""

import json
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent
from keyvault.core import request_context
from keyvault.core.request_context import Context, current
from keyvault.middleware import RequestContextMiddleware

NOWHERE = Context()


def answered(seen: list[Context], **headers: str) -> HttpResponse:
    def view(_: HttpRequest) -> HttpResponse:
        seen.append(current())
        return HttpResponse("ok")

    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.5")
    return RequestContextMiddleware(view)(request)


@pytest.mark.pure
def test_each_answer_carries_the_id_that_the_request_had() -> None:
    seen: list[Context] = []
    ids = [answered(seen)["X-Request-Id"] for _ in range(3)]
    assert ids == [context.request_id for context in seen]
    assert len(set(ids)) == 3
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


@pytest.mark.pure
def test_a_caller_can_forge_neither_id_nor_address() -> None:
    """Anyone can write these headers."""
    seen: list[Context] = []
    answer = answered(
        seen,
        **{
            "X-Request-Id": "forged",
            "X-Forwarded-For": "10.0.0.1",
            "X-Real-IP": "10.0.0.1",
            "Forwarded": "for=10.0.0.1",
        },
    )
    assert seen[0].source == "192.0.2.5"
    assert "forged" not in answer["X-Request-Id"] + seen[0].request_id


@pytest.mark.pure
def test_the_next_act_of_the_same_thread_does_not_inherit_it() -> None:
    def breaks(_: HttpRequest) -> HttpResponse:
        raise RuntimeError

    answered([])
    assert current() == NOWHERE
    with pytest.raises(RuntimeError):
        RequestContextMiddleware(breaks)(RequestFactory().get("/"))
    assert current() == NOWHERE


@pytest.mark.pure
def test_threads_do_not_see_each_others_request() -> None:
    seen: list[Context] = []
    with request_context.acting("mine", "here"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert current().request_id == "mine"
    assert seen == [NOWHERE]


def test_an_audit_row_within_a_request_names_it(database: None) -> None:
    def view(_: HttpRequest) -> HttpResponse:
        record_now(Action.AUDIT_READ, system_actor("test"))
        return HttpResponse()

    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.9")
    answer = RequestContextMiddleware(view)(request)
    record_now(Action.AUDIT_READ, system_actor("outside"))
    first, second = AuditEvent.objects.order_by("seq")
    said: dict[str, Any] = json.loads(first.payload)
    assert (said["request_id"], said["source"]) == (answer["X-Request-Id"], "192.0.2.9")
    assert json.loads(second.payload)["request_id"] == ""
