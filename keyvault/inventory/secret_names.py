"""No secret becomes a name: names are shown to many, and stand in the audit log for ever."""

import re
from collections.abc import Iterable

from keyvault.core.errors import BadInput
from keyvault.core.hashing import fingerprint_of_bytes
from keyvault.core.secret import Secret
from keyvault.inventory import secret_patterns
from keyvault.inventory.secret_input import MIN_LENGTH
from keyvault.models import KeyVersion

_AROUND = "'\"`.,;:()[]{}<>"
_WORDS = re.compile(r"[\s=]+")


def refuse_secret(name: str, *, is_right: bool = False) -> None:
    """Raise BadInput when `name` holds a secret that is on record, or looks like one.

    A person may say that a look is wrong (`is_right`); a known secret is never a name.
    """
    # guard: a known secret is never a name
    # guard: no secret becomes a name
    if (not is_right and secret_patterns.looks_secret(name)) or holds_known(name):
        raise BadInput(looks_like_one(), code="name_is_secret")


def looks_like_one() -> str:
    """Return what is said of a name that is, or looks like, a secret."""
    return (
        "The name looks like a secret, so it is not repeated here. Nothing was stored. Choose a name "
        "that people can read; a command takes it if it is really one (`--name-is-right`)."
    )


def refuse_own_secret(secret: Secret, texts: Iterable[str]) -> None:
    """Raise BadInput when the key itself stands in what people are shown about it."""
    if any(secret.reveal() in text for text in texts):
        raise BadInput(
            (
                "The key itself stands in its name, its id or its purpose, which many may read. "
                "Nothing was stored."
            ),
            code="name_is_secret",
        )


def holds_known(text: str) -> bool:
    """Return whether a text is, or has a word that is, a secret on record."""
    return bool(known_among([text]))


def known_among(texts: Iterable[str]) -> set[str]:
    """Return those of the texts that are, or have a word that is, a secret on record; asks once."""
    prints = {
        fingerprint_of_bytes(word.encode()): text
        for text in texts
        for word in {text, text.strip(), *(word.strip(_AROUND) for word in _WORDS.split(text))}
        if len(word) >= MIN_LENGTH
    }
    found = (
        KeyVersion.objects.filter(fingerprint__in=prints) if prints else KeyVersion.objects.none()
    )
    return {prints[one] for one in found.values_list("fingerprint", flat=True)}
