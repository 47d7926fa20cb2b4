"""Addresses that people set: none leads inside, whether refused when set or when called (TM-20)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from keyvault.core import outbound_addresses
from keyvault.core.errors import BadInput
from keyvault.inventory import accounts
from rotation.consumers import registry, webhooks
from rotation.models import Consumer, Step, WebhookDelivery
from tests.factories import make_key
from tests.rotation.driving import drive, started
from tests.rotation.providers.test_http import ODD, V4, V6

PRIVATE = [*V4, *V6, *ODD]
MALFORMED = [
    "",
    "https://",
    "https:///x",
    "https://[::1",
    "https://example.com:port/",
    "https://example.com:99999/",
    "https://user@example.com/",
    "https://user:pass@example.com/",
    "https://@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://exa mple.com/",
    "https://example.com/\n",
    "https://example.com/#x",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
]


def set_as(url: str) -> str:
    """Return the code by which the address is refused when it is set; empty when it is taken."""
    try:
        outbound_addresses.require_safe(url, "A webhook's")
    except BadInput as error:
        return error.code
    return ""


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_more_or_less_than_an_https_address_is_refused_when_it_is_set(url: str) -> None:
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        assert set_as(url) in ("bad_address", "insecure_address")


def test_what_reads_as_private_is_refused_when_it_is_set() -> None:
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        for host in (
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "LOCALHOST",
            "a.localhost",
        ):
            assert set_as(f"https://{host}/hook") == "forbidden_address", host
        assert set_as("https://hooks.example.com:8443/x?y=1") == ""
        assert set_as("https://93.184.216.34/x") == ""


def test_loopback_is_for_sandboxes_and_opens_nothing_else() -> None:
    with override_settings(ALLOW_LOOPBACK_TARGETS=True):
        assert set_as("http://127.0.0.1:9/x") == ""
        assert set_as("http://10.0.0.1/x") == "insecure_address"
        assert set_as("file://localhost/etc/passwd") == "insecure_address"


def test_both_doors_ask(place: Any, people: Any) -> None:
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        for url in ("https://10.0.0.1/", "https://[::1", "http://example.com/"):
            with pytest.raises(BadInput):
                registry.add_consumer(
                    people.owner, "x", place.application, place.environment, webhook_url=url
                )
            with pytest.raises(BadInput):
                accounts.add_account(people.owner, name="x", provider="influtics", base_url=url)
        with pytest.raises(BadInput):
            accounts.add_account(
                people.owner, name="x", provider="influtics", base_url="https://example.com/?a=b"
            )
    assert not Consumer.objects.exists()


def test_no_address_of_the_corpus_is_called_by_a_webhook(
    vendor: Any, place: Any, people: Any
) -> None:
    """However it came to stand in the row: the address behind it decides when it is called."""
    key = make_key(vendor, place, people.owner)
    registry.add_consumer(
        people.owner, "w", place.application, place.environment, webhook_url="http://127.0.0.1:9/"
    )
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    assert len(PRIVATE) >= 60
    with override_settings(ALLOW_LOOPBACK_TARGETS=False):
        for host in PRIVATE:
            Consumer.objects.update(webhook_url=f"https://{host}/hook")
            said = _send()
            refused = "not allowed" in said
            # Without IPv6 such an address cannot be looked up, and odd ones cannot at all.
            assert refused or (host not in V4 and "No answer" in said), (host, said)


def _send() -> str:
    WebhookDelivery.objects.update(
        state="waiting", attempt=0, claimed_until=None, due_at=timezone.now() - timedelta(seconds=9)
    )
    for number in webhooks.due():
        webhooks.deliver(number)
    return WebhookDelivery.objects.get().last_error
