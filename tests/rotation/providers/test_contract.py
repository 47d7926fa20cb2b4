"""What every provider must keep to, whatever its vendor; a new one is tested by being registered."""

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyvault.core.secret import Secret
from keyvault.vendors import PROVIDERS, choices
from keyvault.vendors.base import (
    CANNOT_TELL,
    REFUSED,
    VALID,
    Provider,
    VendorConnection,
    VendorError,
)
from tests.keyvault.helpers import saying, serving, windows
from tests.rotation.providers.sockets import talking

KEY = "inf_canary-Lw93TqzX61mVbN"
CREDENTIAL = "mgmt_canary-Tx84QpLm20ZvKd"
CAPABILITIES = {
    "can_create": "create",
    "can_list": "find",
    "can_disable": "disable",
    "can_delete": "delete",
    "tells_last_use": "last_used",
    "tells_rights": "describe",
    "replaces_in_place": "replace",
}
every = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
pure = pytest.mark.pure


@contextmanager
def cutting() -> Iterator[str]:
    """Run a server that reads a request and closes the connection."""

    def talk(connection: socket.socket, _: threading.Event) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    with talking(talk) as url:
        yield url


@contextmanager
def answering(*args: Any, **headers: Any) -> Iterator[str]:
    with serving(saying(*args, **headers)) as server:
        yield server.url


PUZZLES: dict[str, Callable[[], Any]] = {
    "cut connection": cutting,
    "HTML page": lambda: answering(200, b"<html>Sign in</html>", "text/html"),
    "empty": lambda: answering(200, b""),
    "cut JSON": lambda: answering(200, b'{"success": true, "da'),
    "not a success": lambda: answering(200, {"success": False, "error": f"no {KEY}"}),
    "other shape": lambda: answering(200, [[[KEY, CREDENTIAL]]]),
    "redirect": lambda: answering(302, b"", "", Location="https://example.com/"),
    "allowance used up": lambda: answering(429, {"success": False, "error": {"code": "LIMITED"}}),
    "server error": lambda: answering(500, {"success": False, "error": f"{KEY} {CREDENTIAL}"}),
    "gateway page": lambda: answering(502, f"<p>Bearer {CREDENTIAL}</p>".encode(), "text/html"),
    "sealed": lambda: answering(503, b""),
}


def account(url: str, management: str | None = CREDENTIAL) -> VendorConnection:
    credential = Secret(management) if management else None
    return VendorConnection(url, management=credential, allow_loopback=True)


def calls(provider: Provider) -> dict[str, Callable[[VendorConnection], Any]]:
    """Return each call that the provider's vendor offers."""
    methods = [method for flag, method in CAPABILITIES.items() if getattr(provider, flag)]
    methods += ["enable"] * provider.can_disable
    return {
        method: lambda where, method=method: getattr(provider, method)(where, "x1")  # type: ignore[misc]
        for method in methods
    }


def shows_nothing(value: Any) -> bool:
    shown = repr(value)
    if isinstance(value, BaseException):
        shown += "".join(traceback.format_exception(value)) + repr(vars(value))
    return not (windows(KEY, 8) | windows(CREDENTIAL, 8)) & windows(shown, 8)


@pure
@every
def test_it_is_registered_under_its_own_code_with_a_name(provider: Provider) -> None:
    assert PROVIDERS[provider.code] is provider
    assert (provider.code, provider.name) in choices()
    assert provider.code.isidentifier()
    assert provider.name
    assert provider.environment_variable.isupper()


@pure
@every
def test_it_does_what_it_declares_and_declares_what_it_does(provider: Provider) -> None:
    """A flag without its call, or a call without its flag, would be found only in a rotation."""
    for flag, method in CAPABILITIES.items():
        written = getattr(type(provider), method) is not getattr(Provider, method)
        assert getattr(provider, flag) == written, f"{flag} and {method}() disagree"
        if not getattr(provider, flag):
            with pytest.raises(LookupError, match=provider.name):
                getattr(provider, method)(account("https://x.invalid"), "x1")
    whole = type(provider).list_all is not Provider.list_all
    assert provider.can_list == whole, "who finds by label lists all"
    enables = type(provider).enable is not Provider.enable
    assert provider.can_disable == enables, "what is disabled for a proof must come back"


@pure
@every
def test_people_are_told_what_the_vendors_api_cannot_do(provider: Provider) -> None:
    """Each lacking call becomes a task, which needs its steps in words."""
    assert provider.can_create or len(provider.create_steps) >= 2
    assert provider.can_delete or len(provider.delete_steps) >= 2
    if provider.can_create:
        assert provider.can_list, "an unclear create needs a list to look into"
    assert provider.timing.steady_answers >= 1


@pure
@every
@pytest.mark.parametrize("puzzle", PUZZLES)
def test_its_check_cannot_tell_for_an_answer_that_is_no_verdict(
    provider: Provider, puzzle: str
) -> None:
    """B08, B13, B64, B97: an answer for people, no exception, no key in it."""
    with PUZZLES[puzzle]() as url:
        verdict = provider.check(account(url), Secret(KEY))
    assert verdict.answer == CANNOT_TELL
    assert verdict.text
    assert shows_nothing(verdict)


@pure
@every
def test_its_check_needs_no_management_credential_and_never_raises(provider: Provider) -> None:
    for url in (
        "https://no-such-host.invalid",
        "http://127.0.0.1:9",
        "http://x",
        "",
        "https://[::",
    ):
        verdict = provider.check(account(url, None), Secret(KEY))
        assert verdict.answer == CANNOT_TELL
        assert shows_nothing(verdict)


@pure
@every
@pytest.mark.parametrize("puzzle", PUZZLES)
def test_each_of_its_calls_raises_one_kind_of_error(provider: Provider, puzzle: str) -> None:
    """B13, B97: VendorError only, without key or credential, whatever the vendor answers."""
    for name, call in calls(provider).items():
        with PUZZLES[puzzle]() as url, pytest.raises(VendorError) as caught:
            call(account(url))
        assert caught.value.text, name
        assert shows_nothing(caught.value), name


@pure
@every
@pytest.mark.parametrize("puzzle", ["cut connection", "gateway page", "server error", "redirect"])
def test_its_create_is_sent_once_and_told_as_unclear(provider: Provider, puzzle: str) -> None:
    """B01: the vendor may have made the key."""
    if not provider.can_create:
        return
    with PUZZLES[puzzle]() as url, pytest.raises(VendorError) as caught:
        provider.create(account(url), "kv-1-1")
    assert caught.value.sent
    assert caught.value.retryable


@pure
@every
def test_a_vendor_that_cannot_be_reached_was_not_sent_anything(provider: Provider) -> None:
    for call in calls(provider).values():
        with pytest.raises(VendorError) as caught:
            call(account("http://127.0.0.1:9"))
        assert not caught.value.sent
        assert caught.value.retryable


@every
def test_its_check_tells_a_working_key_from_a_deleted_and_an_unknown_one(
    provider: Provider, vendor: Any
) -> None:
    """Against the sandbox vendor, which speaks for all of them as documented."""
    made = vendor.create_account(f"contract {provider.code}")
    key = vendor.create_key(made["id"], label="contract")
    where = account(vendor.url, made["management_credential"])
    first = provider.check(where, Secret(key["key"]))
    assert first.answer == VALID
    assert first.facts == provider.check(where, Secret(key["key"])).facts
    assert provider.check(where, Secret(KEY)).answer == REFUSED
    vendor.delete_key(key["id"])
    assert provider.check(where, Secret(key["key"])).answer == REFUSED
