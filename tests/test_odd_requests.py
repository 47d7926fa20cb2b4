"""F16: numbers, days and ids that are none, on every route; HEAD; and the address of a form."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from keyvault.core.numbers import LARGEST, whole
from tests.api_client import sign_in
from tests.factories import make_key
from tests.guards import ROOT
from tests.test_roles_matrix import OPEN, ROUTES

THOUSANDS = "9" * 5000
ODD = (
    THOUSANDS,
    "1" + "0" * 18 + "9",
    "9223372036854775808",
    "-1",
    "²",  # noqa: RUF100
    "٣",
    "1e400",
    "nan",
    "0001-01-01",
    "9999-12-31",
    "2026-02-30",
    "2026-13",
    "0000-00",
    "9999-12-31T23:59:59.999999+14:00~1",
    f"a~{THOUSANDS}",
    "00000000-0000-0000-0000-00000000000g",
    "\x00",
    "\ud800",
    "[]",
)
_QUERIED = re.compile(
    r"""(?:GET|query_params)(?:\.get|\.getlist)?[(\[]\s*["'](\w+)["']"""
    r"""|(?:words|_day|_number)\([\w.]+, ["'](\w+)["']"""
)
_READ = re.compile(
    r"""(?:GET|POST|query_params|said|body|data)(?:\.get|\.getlist)?[(\[]\s*["'](\w+)["']"""
    r"""|(?:words|text|_day|_number|moment|number)\([\w.]+, ["'](\w+)["']"""
    r"""|^\s+(\w+) = (?:forms|serializers)\.""",
    re.MULTILINE,
)


def _names(reading: re.Pattern[str]) -> list[str]:
    """Return the names of all that pages and routes read, as the code writes them."""
    found = set()
    for folder in ("keyvault", "rotation"):
        for path in Path(ROOT / folder).rglob("*.py"):
            for groups in reading.findall(path.read_text(encoding="utf-8")):
                found |= set(filter(None, groups))
    return sorted(found)


NAMES, IN_QUERIES = _names(_READ), _names(_QUERIED)


@pytest.fixture
def client(database: None, vendor: Any, place: Any, people: Any) -> Client:
    make_key(vendor, place, people.owner)
    return sign_in(Client(raise_request_exception=False), people.owner)


def _walked() -> list[str]:
    left_out = ("/sign-out", "/account/", "/admin/", "/leave", "/sessions")
    return [path for path in ROUTES if not any(part in path for part in left_out)]


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_thousands_of_digits_are_no_number() -> None:
    assert whole(THOUSANDS) is None
    assert whole("0" * 5000 + "7") == 7
    assert whole(str(LARGEST)) == LARGEST
    assert whole(str(LARGEST + 1)) is None
    assert [whole(odd) for odd in ("", "²", "٣", "-1", "+1", " 1", "1.0")] == [None] * 7


def test_the_names_of_parameters_are_found() -> None:
    assert {"first", "last", "after", "month", "since", "overlap_seconds", "limit"} <= set(NAMES)


def _mixed(turn: int) -> dict[str, str]:
    """Return every name with some odd value; after so many turns each has had several."""
    return {name: _plain(ODD[(place + 5 * turn) % len(ODD)]) for place, name in enumerate(NAMES)}


@pytest.mark.parametrize("turn", range(5))
def test_no_query_breaks_a_page_or_route(client: Client, turn: int) -> None:
    """Every name at once; the next test has each alone."""
    for path in _walked():
        answer = client.get(path, _mixed(turn))
        assert answer.status_code < 500 or answer.status_code == 503, (path, answer.status_code)


def test_no_single_parameter_breaks_a_page_or_route(client: Client) -> None:
    shown = [path for path in _walked() if client.get(path).status_code == 200]
    lists = [path for path in shown if path.endswith("/") and "/1/" not in path]
    assert len(lists) > 20
    for path in lists:
        for name in IN_QUERIES:
            answer = client.get(path, {name: THOUSANDS})
            assert answer.status_code < 500, (path, name)


@pytest.mark.parametrize("turn", range(5))
def test_no_form_or_body_breaks_a_page_or_route(client: Client, turn: int, people: Any) -> None:
    said = _mixed(turn)
    for path in _walked():
        if path.startswith(("/api/", "/scim/")):
            answer = client.post(path, said, content_type="application/json")
        else:
            answer = client.post(path, said)
        assert answer.status_code < 500 or answer.status_code == 503, (path, answer.status_code)
    sign_in(client, people.owner)


def test_numbers_in_json_may_be_long(client: Client) -> None:
    for path in _walked():
        if path.startswith("/api/"):
            body = "{" + ",".join(f'"{name}": {THOUSANDS}' for name in NAMES) + "}"
            answer = client.post(path, body, content_type="application/json")
            assert answer.status_code < 500, (path, answer.content)


def test_the_part_of_the_audit_log_to_export_may_be_nonsense(client: Client) -> None:
    """F16: 5,000 digits were answered by a 500."""
    answer = client.post("/audit/export", {"format": "jsonl", "first": THOUSANDS})
    assert answer.status_code == 404
    assert "not a number" in answer.content.decode()


def _pages() -> list[str]:
    programs = ("/api/", "/scim/", "/metrics", "/health/", "/account/", "/static/", "/favicon.ico")
    return [path for path in _walked() if not path.startswith(programs)]


def test_every_page_answers_head_like_get(client: Client) -> None:
    """Uptime checkers ask so; F16."""
    for path in _pages():
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b"", path
        assert head.status_code != 405, path
    assert Client().head("/").status_code == 302


def test_the_address_of_a_form_leads_to_its_page(client: Client) -> None:
    """After an error in a form its address stands in the browser's bar; opened, it was empty."""
    for path in _pages():
        answer = client.get(path, follow=True)
        assert answer.status_code != 405, path
        assert len(answer.redirect_chain) < 5, answer.redirect_chain
    assert client.get("/keys/1/policy")["Location"] == "/keys/1/"
    assert client.get("/tokens/1/renew", follow=True).redirect_chain[-1][0] in ("/", "/tokens/")
    assert client.get("/pauses/", follow=True).status_code == 200


def test_other_methods_are_refused_with_words(client: Client) -> None:
    answer = client.put("/keys/1/policy")
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"
    assert "Nothing was changed" in answer.content.decode()


def test_without_a_session_forms_lead_to_the_door(database: None) -> None:
    for path in _pages():
        if path not in OPEN:
            answer = Client().get(path, follow=True)
            assert answer.redirect_chain[-1][0].startswith("/sign-in"), path
