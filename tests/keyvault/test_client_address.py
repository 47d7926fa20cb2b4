"""The address that is recorded is one that our own proxies saw, never one that a caller wrote (B73)."""

import ipaddress
import json
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from keyvault.audit.models import AuditEvent
from keyvault.checks import check_production
from keyvault.core.client_ip import client_address
from keyvault.core.env import proxies
from keyvault.delivery import tokens
from tests.api_client import Api
from tests.factories import make_key

PROXIES = proxies(["10.0.0.0/8", "fd00::/8"])
CLIENT, PROXY, INNER = "198.51.100.7", "10.0.0.5", "10.0.0.6"
ADDRESSES = st.ip_addresses().map(str)
HEADERS = st.lists(st.one_of(ADDRESSES, st.text(max_size=30)), max_size=6).map(", ".join)


def source(peer: str, forwarded: str = "", trusted: Any = PROXIES, **headers: str) -> str:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer, **headers}
    if forwarded:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    with override_settings(TRUSTED_PROXIES=trusted):
        return client_address(request)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("peer", "forwarded", "recorded"),
    [
        (CLIENT, "", CLIENT),
        (CLIENT, "192.0.2.1", CLIENT),
        (CLIENT, f"192.0.2.1, {PROXY}", CLIENT),
        (PROXY, "", PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"192.0.2.1, {CLIENT}", CLIENT),
        (PROXY, f"192.0.2.1, {CLIENT}, {INNER}", CLIENT),
        (PROXY, f"192.0.2.1,{CLIENT} ,\t{INNER} ", CLIENT),
        # All are proxies: the first of them is as far as can be seen.
        (PROXY, INNER, INNER),
        (PROXY, f"10.9.9.9, {INNER}", "10.9.9.9"),
        # A port, brackets, a zone, a mapped address.
        (PROXY, f"{CLIENT}:51234", CLIENT),
        (PROXY, "[2001:db8::7]:443", "2001:db8::7"),
        (PROXY, "[2001:db8::7]", "2001:db8::7"),
        (PROXY, "2001:DB8:0::7", "2001:db8::7"),
        (PROXY, "::ffff:198.51.100.7", CLIENT),
        (PROXY, "[::ffff:198.51.100.7]:80", CLIENT),
        (PROXY, "2001:db8::7%<script>", "2001:db8::7"),
        ("fe80::1%eth0", CLIENT, "fe80::1"),
        ("::ffff:10.0.0.5", CLIENT, CLIENT),
        (f"::ffff:{CLIENT}", PROXY, CLIENT),
        ("fd00::5", CLIENT, CLIENT),
        # Garbage: what passed it on is all that is known.
        (PROXY, "unknown", PROXY),
        (PROXY, f"{CLIENT}, _hidden", PROXY),
        (PROXY, f"{CLIENT},, {INNER}", INNER),
        (PROXY, f"{CLIENT}, {INNER}:x", PROXY),
        (PROXY, "198.51.100.7:443:443", PROXY),
        (PROXY, "198.51.100.07", PROXY),
        (PROXY, "3325256711", PROXY),
        (PROXY, "١٩٨.51.100.7", PROXY),
        (PROXY, "[2001:db8::7", PROXY),
        (PROXY, f"{CLIENT}\n", CLIENT),
        (PROXY, "\0", PROXY),
        (PROXY, "9" * 5000, PROXY),
        (PROXY, "1.1.1.1," * 640 + CLIENT, CLIENT),
        (PROXY, f"{INNER}," * 500, PROXY),
        # No address at all.
        ("", CLIENT, ""),
        ("unix:", CLIENT, ""),
        ("@", CLIENT, ""),
    ],
)
def test_the_last_address_that_no_proxy_of_ours_has_is_recorded(
    peer: str, forwarded: str, recorded: str
) -> None:
    assert source(peer, forwarded) == recorded


@pytest.mark.pure
def test_a_proxy_that_calls_over_a_socket_is_believed_only_if_it_is_named() -> None:
    named = proxies(["unix", "10.0.0.0/8"])
    assert source("", CLIENT, named) == CLIENT
    assert source("", f"{CLIENT}, {INNER}", named) == CLIENT
    assert source("", "garbage", named) == ""
    assert source("", "", named) == ""
    assert source("@", CLIENT, named) == ""
    assert source("", CLIENT, proxies(["10.0.0.0/8"])) == ""
    assert source(CLIENT, INNER, named) == CLIENT


@pytest.mark.pure
def test_without_trusted_proxies_no_header_counts() -> None:
    for peer in (CLIENT, PROXY, "127.0.0.1", "::1"):
        assert source(peer, "192.0.2.1", []) == peer


@pytest.mark.pure
def test_no_other_header_counts() -> None:
    others = {
        "HTTP_X_REAL_IP": "192.0.2.1",
        "HTTP_FORWARDED": "for=192.0.2.1",
        "HTTP_CLIENT_IP": "192.0.2.1",
        "HTTP_TRUE_CLIENT_IP": "192.0.2.1",
        "HTTP_CF_CONNECTING_IP": "192.0.2.1",
        "HTTP_X_FORWARDED": "192.0.2.1",
    }
    assert source(CLIENT, **others) == CLIENT
    assert source(PROXY, **others) == PROXY
    assert source(PROXY, CLIENT, **others) == CLIENT


@pytest.mark.pure
@given(peer=st.ip_addresses(), forwarded=HEADERS)
def test_a_direct_caller_writes_nothing_into_the_record(peer: Any, forwarded: str) -> None:
    """Whoever is no proxy of ours is recorded by the address of its own connection."""
    mapped = getattr(peer, "ipv4_mapped", None) or peer
    if any(mapped in network for network in PROXIES):
        return
    assert source(str(peer), forwarded) == str(mapped)


@pytest.mark.pure
@given(client=st.ip_addresses(v=4, network="198.51.100.0/24").map(str), forged=HEADERS)
def test_a_caller_behind_a_proxy_writes_nothing_into_the_record(client: str, forged: str) -> None:
    """The proxy appends; all that the caller put before that is left of it."""
    for chain in (f"{forged}, {client}", f"{forged}, {client}, {INNER}"):
        assert source(PROXY, chain) == client


@pytest.mark.pure
@given(
    peer=st.one_of(st.text(max_size=40), ADDRESSES, st.just(PROXY)),
    forwarded=st.one_of(HEADERS, st.text(max_size=5000)),
)
def test_whatever_comes_it_is_one_address_or_nothing(peer: str, forwarded: str) -> None:
    found = source(peer, forwarded, proxies(["unix", "10.0.0.0/8"]))
    assert not found or str(ipaddress.ip_address(found)) == found
    assert len(found) <= 39


# --- Through the whole service ---


def through(headers: dict[str, str], **options: Any) -> dict[str, Any]:
    """Ask for a secret with a token that is none; return the audit row of the refusal."""
    with override_settings(TRUSTED_PROXIES=proxies(["127.0.0.0/8"])):
        answer = Api(token="kvt_nonsense", **options).get("keys/1/secret", **headers)
    assert answer.status == 401
    row = AuditEvent.objects.order_by("-seq").first()
    assert row is not None
    return dict(json.loads(row.payload))


def test_the_audit_log_names_the_caller_behind_the_proxy() -> None:
    forwarded = {"X-Forwarded-For": f"192.0.2.1, {CLIENT}", "X-Real-IP": "192.0.2.1"}
    assert through(forwarded)["source"] == CLIENT
    assert through(forwarded, REMOTE_ADDR="203.0.113.4")["source"] == "203.0.113.4"
    assert through({"X-Forwarded-For": "x" * 5000})["source"] == "127.0.0.1"
    assert through({"X-Forwarded-For": "\x00\xff, <b>"}, REMOTE_ADDR="")["source"] == ""


def test_a_token_bound_to_networks_is_held_to_the_address_that_is_recorded(
    vendor: Any, people: Any, place: Any
) -> None:
    key = make_key(vendor, place, people.owner)
    _, text = tokens.issue(
        people.owner, "app", place.application, place.environment, networks=["198.51.100.0/24"]
    )

    def status(forwarded: str, **options: Any) -> int:
        with override_settings(TRUSTED_PROXIES=proxies(["127.0.0.0/8"])):
            app = Api(token=text.reveal(), **options)
            return app.get(f"keys/{key.pk}/secret", **{"X-Forwarded-For": forwarded}).status

    assert status(CLIENT) == 200
    assert status(f"192.0.2.1, {CLIENT}") == 200
    assert status(f"{CLIENT}, 192.0.2.1") == 401
    assert status(CLIENT, REMOTE_ADDR="192.0.2.1") == 401
    assert status("192.0.2.1", REMOTE_ADDR=CLIENT) == 200
    rows = AuditEvent.objects.filter(action="secret.fetched").order_by("seq")
    assert {json.loads(row.payload)["source"] for row in rows} == {CLIENT}


# --- The setting ---


@pytest.mark.pure
@pytest.mark.parametrize("text", ["nowhere", "10.0.0.1/8", "10.0.0.0/33", "*", "", "10.0.0.0/8 "])
def test_a_setting_that_is_no_network_is_named_at_the_start(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        proxies(["192.0.2.0/24", text])


@pytest.mark.pure
def test_checks_name_proxies_that_are_everybody_and_a_proxy_that_was_forgotten() -> None:
    def found(trusted: list[str], header: Any = None) -> set[str]:
        with override_settings(TRUSTED_PROXIES=proxies(trusted), SECURE_PROXY_SSL_HEADER=header):
            return {str(one.id) for one in check_production()} & {"keyvault.E008", "keyvault.W005"}

    https = ("HTTP_X_FORWARDED_PROTO", "https")
    assert found([]) == set()
    assert found([], https) == {"keyvault.W005"}
    assert found(["10.0.0.0/8", "unix"], https) == set()
    for everybody in ("0.0.0.0/0", "::/0"):
        assert found([everybody], https) == {"keyvault.E008"}
