"""Tell secrets apart without keeping them: a keyed fingerprint and, for long ones, a short tail."""

import hashlib
import hmac

from django.conf import settings

from keyvault.core.secret import Secret

_TAIL = 4
_SHORTEST_WITH_TAIL = 20


def fingerprint(secret: Secret) -> str:
    """Return HMAC-SHA-256 of the secret in hex, under a key that is not in the database."""
    return fingerprint_of_bytes(secret.reveal().encode())


def fingerprint_of_bytes(text: bytes) -> str:
    """Return the same for bytes that may or may not be a secret of ours."""
    return hmac.digest(settings.FINGERPRINT_KEY.encode(), text, hashlib.sha256).hex()


def peppered(text: str) -> str:
    """Return the keyed digest, in hex, under which a token, a code or what was typed is kept."""
    return hmac.digest(settings.TOKEN_PEPPER.encode(), text.encode(), hashlib.sha256).hex()


def last_four(secret: Secret) -> str:
    """Return the last four characters of secrets of 20 or more, else an empty string."""
    return secret.reveal()[-_TAIL:] if len(secret) >= _SHORTEST_WITH_TAIL else ""
