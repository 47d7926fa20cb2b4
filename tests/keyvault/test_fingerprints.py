"""Secrets are told apart by a keyed fingerprint, and shown by four characters at most."""

import hashlib

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from keyvault.core.hashing import fingerprint, last_four
from keyvault.core.secret import Secret

pytestmark = pytest.mark.pure

ALPHABETS = st.sampled_from(["abcdef0123456789", "ab-cd.ef_", "aZ9+/=", "é🔑ü-a"])
SECRETS = ALPHABETS.flatmap(lambda alphabet: st.text(alphabet, min_size=1, max_size=300))


@given(SECRETS)
def test_a_tail_never_shows_more_than_a_fifth_of_a_secret(text: str) -> None:
    """B38: four characters at most, none of a short key, and never the length."""
    shown = last_four(Secret(text))
    assert text.endswith(shown)
    assert len(shown) in (0, 4)
    assert len(shown) * 5 <= len(text)
    if len(text) < 20:
        assert shown == ""


@pytest.mark.parametrize(("length", "shown"), [(1, 0), (8, 0), (19, 0), (20, 4), (4096, 4)])
def test_short_keys_show_nothing(length: int, shown: int) -> None:
    """B38: the border is where it is said to be."""
    assert len(last_four(Secret("k" * length))) == shown


@given(SECRETS, SECRETS)
def test_fingerprints_tell_secrets_apart_and_keep_nothing_of_them(one: str, two: str) -> None:
    """B38: also keys that share their beginning or differ only in case."""
    first, second = fingerprint(Secret(one)), fingerprint(Secret(two))
    assert (first == second) == (one == two)
    assert len(first) == 64
    assert first != fingerprint(Secret(one + "x"))


def test_a_fingerprint_cannot_be_made_without_the_key_outside_the_database() -> None:
    """Whoever steals a dump cannot test guesses against it."""
    secret = Secret("guessable-secret")
    known = fingerprint(secret)
    assert known != hashlib.sha256(secret.reveal().encode()).hexdigest()
    with override_settings(FINGERPRINT_KEY="another-key-that-is-long-enough-here"):
        assert fingerprint(secret) != known
    assert settings.FINGERPRINT_KEY not in known
