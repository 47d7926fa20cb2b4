"""Service tokens: shown once, never stored, refused before a query when they are damaged."""

import random
import re
import string
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.core.redaction import redact
from keyvault.delivery import fetch, tokens
from keyvault.models import Application, ServiceToken
from tests.keyvault.helpers import windows


@pytest.fixture
def issued(people: Any, place: Any) -> tuple[ServiceToken, str]:
    """Return a token and its text."""
    token, text = tokens.issue(people.owner, "app", place.application, place.environment)
    return token, text.reveal()


def refused(text: str) -> str:
    with pytest.raises(tokens.TokenRefused) as caught:
        tokens.check(text)
    return (
        f"{caught.value.message} {caught.value.code} {caught.value.status} {caught.value.details}"
    )


def everything_in_the_database() -> str:
    """Return every row of every table as text, as a stolen dump would show it."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = [name for (name,) in cursor.fetchall()]
        parts = []
        for name in names:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM \"{name}\" t")
            parts.append(cursor.fetchone()[0])
    return "\n".join(parts)


def test_a_token_opens_and_has_the_published_form(issued: tuple[ServiceToken, str]) -> None:
    token, text = issued
    assert tokens.check(text) == token
    match = tokens.PATTERN.fullmatch(text)
    assert match
    assert match[1] == token.public_id
    assert len(text) == 4 + 12 + 1 + 34 + 8
    assert tokens.PATTERN.search(f"TOKEN={text}\n"), "scanners find it within a file"
    assert re.fullmatch(r"[a-z0-9]{12}", token.public_id)


def test_the_text_of_a_token_is_nowhere_in_the_database(issued: tuple[ServiceToken, str]) -> None:
    """B26: neither it nor the part that opens, only a digest under a key from elsewhere."""
    token, text = issued
    fetch_refused(text[:-1] + ("0" if text[-1] != "0" else "1"))
    dump = everything_in_the_database()
    assert token.digest in dump
    assert not windows(text.split("_", 2)[2], 10) & windows(dump, 10)


def fetch_refused(text: str) -> None:
    with pytest.raises(tokens.TokenRefused):
        fetch.authenticate(text)


def test_a_stolen_dump_cannot_be_turned_into_a_token(issued: tuple[ServiceToken, str]) -> None:
    """The digest is keyed: without the pepper not even a known token matches."""
    _, text = issued
    with override_settings(TOKEN_PEPPER="another-pepper-that-is-long-enough-000"):
        refused(text)


def test_damaged_unknown_revoked_and_expired_tokens_read_alike(
    issued: tuple[ServiceToken, str], people: Any, place: Any
) -> None:
    token, text = issued
    _, other = tokens.issue(people.owner, "other", place.application, place.environment)
    body = text.rsplit("_", 1)[0] + "_" + "A" * 34
    said = {
        refused(""),
        refused("kvt_"),
        refused(text[:-1]),
        refused(text + "0"),
        refused(text.upper()),
        refused(" " + text),
        refused(text + "\n"),
        refused(body + tokens._checksum(body)),  # a good checksum over a wrong secret
        refused(text[:16].replace(token.public_id, "a" * 12) + text[16:]),
        refused(other.reveal()[:17] + text[17:]),
        refused("\u0660" * 59),
        refused("kvt_" + "é" * 55),
    }
    tokens.revoke(people.owner, token)
    said.add(refused(text))
    soon = timezone.now() + timedelta(minutes=1)
    expired, late = tokens.issue(people.owner, "late", place.application, place.environment, soon)
    ServiceToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    said.add(refused(late.reveal()))
    assert len(said) == 1
    assert expired.last_used_at is None


def test_a_damaged_token_is_refused_before_any_statement(
    issued: tuple[ServiceToken, str],
) -> None:
    """The checksum spares the database a look-up for each mistyped or made-up token."""
    _, text = issued
    rng = random.Random(7)
    alphabet = string.ascii_letters + string.digits
    with CaptureQueriesContext(connection) as queries:
        for _ in range(200):
            where = rng.randrange(17, len(text))
            letter = rng.choice([c for c in alphabet if c != text[where]])
            refused(text[:where] + letter + text[where + 1 :])
    assert len(queries) == 0


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80) | st.from_regex(tokens.PATTERN, fullmatch=True))
def test_no_made_up_text_opens_or_breaks_anything(database: None, text: str) -> None:
    refused(text)


def test_each_token_differs_in_all_its_random_parts(people: Any, place: Any) -> None:
    texts = [
        tokens.issue(people.owner, f"t{n}", place.application, place.environment)[1].reveal()
        for n in range(20)
    ]
    assert len({text[4:16] for text in texts}) == 20
    assert len({text[17:51] for text in texts}) == 20
    assert 62**34 > 2**200


def test_the_expiry_is_a_moment_not_a_day(people: Any, place: Any) -> None:
    """A token works until its moment and not after it."""
    soon = timezone.now() + timedelta(seconds=30)
    token, text = tokens.issue(people.owner, "soon", place.application, place.environment, soon)
    assert tokens.check(text.reveal()) == token
    ServiceToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    refused(text.reveal())


def test_a_refusal_is_recorded_with_the_public_part_only(
    issued: tuple[ServiceToken, str], people: Any
) -> None:
    token, text = issued
    tokens.revoke(people.owner, token)
    fetch_refused(text)
    fetch_refused("kvt_nonsense-with-a-secret-in-it")
    known, unknown = AuditEvent.objects.filter(action="token.refused").order_by("seq")
    assert token.public_id in known.payload
    assert text[17:] not in known.payload
    assert "nonsense" not in unknown.payload
    assert {known.outcome, unknown.outcome} == {"denied"}


def test_last_use_moves_at_most_once_a_minute_and_not_for_a_refusal(
    issued: tuple[ServiceToken, str], people: Any
) -> None:
    """B11: the last use of a dead token stands still."""
    token, text = issued
    tokens.touch(token)
    token.refresh_from_db()
    first = token.last_used_at
    tokens.touch(token)
    token.refresh_from_db()
    assert token.last_used_at == first
    tokens.revoke(people.owner, token)
    fetch_refused(text)
    token.refresh_from_db()
    assert token.last_used_at == first


def test_only_owners_issue_and_revoke(
    issued: tuple[ServiceToken, str], people: Any, place: Any
) -> None:
    token, text = issued
    elsewhere = Application.objects.create(name="Elsewhere")
    for member in (people.operator, people.developer, people.viewer):
        with pytest.raises(Denied):
            tokens.issue(member, "x", place.application, place.environment)
        with pytest.raises(NotFound):
            tokens.issue(member, "x", elsewhere, place.environment)
        with pytest.raises(NotFound):
            tokens.revoke(member, token)
    with pytest.raises(NotFound):
        tokens.issue(people.outsider, "x", place.application, place.environment)
    assert tokens.check(text) == token
    assert ServiceToken.objects.count() == 1


def test_a_token_is_revoked_once_and_for_good(
    issued: tuple[ServiceToken, str], people: Any
) -> None:
    token, text = issued
    tokens.revoke(people.owner, token)
    with pytest.raises(Conflict):
        tokens.revoke(people.owner, token)
    refused(text)
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "two\nlines", "x\x00y", "zero\u200bwidth"])
def test_an_odd_name_is_refused_in_words(people: Any, place: Any, name: str) -> None:
    """B87, and no 500 from the database."""
    with pytest.raises(BadInput):
        tokens.issue(people.owner, name, place.application, place.environment)
    assert not ServiceToken.objects.exists()


def test_a_name_is_used_once_whatever_its_case(people: Any, place: Any) -> None:
    """B96."""
    tokens.issue(people.owner, "Worker", place.application, place.environment)
    with pytest.raises(Conflict):
        tokens.issue(people.owner, "wORKER", place.application, place.environment)
    tokens.issue(people.owner, "worker", place.application, place.production)


@pytest.mark.pure
def test_a_leaked_token_is_hidden_in_logs_by_its_shape() -> None:
    """B61: also one that this process never made."""
    text = "kvt_abcdefghijkl_" + "Ab1" * 11 + "Z" + "0123abcd"
    assert tokens.PATTERN.fullmatch(text)
    assert "Ab1Ab1" not in redact(f"header was {text}")


def test_a_renewed_token_overlaps_with_its_former_text_and_then_replaces_it(
    people: Any, issued: tuple[ServiceToken, str]
) -> None:
    token, old = issued
    new = tokens.renew(people.owner, token, overlap_seconds=600).reveal()
    assert new != old
    assert tokens.check(new) == tokens.check(old) == token
    tokens.touch(tokens.check(old))
    token.refresh_from_db()
    assert token.former_used_at is not None, "whoever still uses the former text is seen"
    ServiceToken.objects.update(former_until=timezone.now())
    refused(old)
    assert tokens.check(new) == token
    assert AuditEvent.objects.filter(action="token.renewed").count() == 1
    assert old[:-8] not in everything_in_the_database()
    assert new[:-8] not in everything_in_the_database()


def test_renewal_asks_for_rights_a_sane_overlap_and_a_live_token(
    people: Any, issued: tuple[ServiceToken, str]
) -> None:
    token, text = issued
    with pytest.raises(NotFound):
        tokens.renew(people.operator, token)
    for overlap in (-1, 30 * 86400 + 1):
        with pytest.raises(BadInput, match="30 days"):
            tokens.renew(people.owner, token, overlap_seconds=overlap)
    tokens.revoke(people.owner, token)
    with pytest.raises(Conflict, match="revoked"):
        tokens.renew(people.owner, token)
    refused(text)


@pytest.mark.parametrize(
    ("networks", "source", "opens"),
    [
        ([], "", True),
        ([], "203.0.113.9", True),
        (["10.1.0.0/16"], "10.1.255.3", True),
        (["10.1.0.0/16"], "::ffff:10.1.2.3", True),
        (["10.1.0.0/16"], "10.2.0.1", False),
        (["10.1.0.0/16"], "", False),
        (["10.1.0.0/16"], "10.1.2.3, 10.2.0.1", False),
        (["2001:db8::/32", "192.0.2.7"], "2001:db8::1", True),
        (["2001:db8::/32", "192.0.2.7"], "192.0.2.7", True),
        (["2001:db8::/32", "192.0.2.7"], "192.0.2.8", False),
    ],
)
def test_a_token_bound_to_networks_opens_nothing_from_elsewhere(
    people: Any, place: Any, networks: list[str], source: str, opens: bool
) -> None:
    _, text = tokens.issue(
        people.owner, "bound", place.application, place.environment, networks=networks
    )
    if opens:
        assert tokens.check(text.reveal(), source).networks is not None
        return
    with pytest.raises(tokens.TokenRefused):
        tokens.check(text.reveal(), source)


@pytest.mark.parametrize("odd", ["", "10.1.0.0/33", "everywhere", "1.2.3", "::/129", "a\nb"])
def test_a_network_that_is_none_is_refused_by_name(people: Any, place: Any, odd: str) -> None:
    with pytest.raises(BadInput, match="is not a network"):
        tokens.issue(people.owner, "odd", place.application, place.environment, networks=[odd])
    assert not ServiceToken.objects.exists()


def test_a_token_that_would_end_before_it_begins_is_refused(people: Any, place: Any) -> None:
    with pytest.raises(BadInput, match="past"):
        tokens.issue(people.owner, "late", place.application, place.environment, timezone.now())
