"""Who signs the checkpoints: a key that never leaves Vault where one is named, else a key file.

Whoever takes over a worker can sign with Vault's key for as long as they are there, but takes no key
away. Both are Ed25519, so that the same public key and the same tools verify either.
"""

import base64
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from keyvault.vault import secret_store

_SEED_BYTES = 32


class NoSigningKey(Exception):
    """AUDIT_SIGNING_KEY is missing or is not 32 bytes in base64."""


class Signer(Protocol):
    """Signs a text; keys and signatures are in base64."""

    def sign(self, text: str) -> str:
        """Return the signature of the text."""

    def public_key(self) -> str:
        """Return the key that verifies it, to be kept where the log is verified."""


@dataclass(frozen=True)
class KeyFile:
    """Signs with AUDIT_SIGNING_KEY."""

    key: Ed25519PrivateKey

    def sign(self, text: str) -> str:
        """Return the signature of the text."""
        return base64.b64encode(self.key.sign(text.encode())).decode()

    def public_key(self) -> str:
        """Return the key that verifies it."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()


@dataclass(frozen=True)
class TransitKey:
    """Signs in Vault's transit engine, always with version 1: the public key stays the same."""

    mount: str
    name: str

    def sign(self, text: str) -> str:
        """Return the signature of the text; raises StoreDenied or StoreUnavailable."""
        return secret_store.transit_sign(self.mount, self.name, text.encode())

    def public_key(self) -> str:
        """Return the key that verifies it; raises as `sign` does."""
        return secret_store.transit_public_key(self.mount, self.name)


def is_set() -> bool:
    """Return whether this process has anything to sign with."""
    return bool(settings.AUDIT_TRANSIT_KEY or settings.AUDIT_SIGNING_KEY)


def signer() -> Signer:
    """Return what signs here; raises NoSigningKey."""
    if settings.AUDIT_TRANSIT_KEY:
        mount, _, name = settings.AUDIT_TRANSIT_KEY.rpartition("/")
        return TransitKey(mount or "transit", name)
    try:
        seed = base64.b64decode(settings.AUDIT_SIGNING_KEY, validate=True)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise NoSigningKey("AUDIT_SIGNING_KEY must be 32 random bytes in base64.")
    return KeyFile(Ed25519PrivateKey.from_private_bytes(seed))


def public_keys(public: str) -> list[Ed25519PublicKey]:
    """Return the keys in `public` (base64, with commas between them); ValueError for what is none.

    There are several once another key signs than at first, such as Vault's in place of the file.
    """
    return [Ed25519PublicKey.from_public_bytes(base64.b64decode(one)) for one in public.split(",")]


def signed_by(public: str, text: str, signature: str) -> bool:
    """Return whether `signature` (base64) over `text` is by one of the keys in `public`."""
    return any(_fits(key, text, signature) for key in public_keys(public))


def _fits(key: Ed25519PublicKey, text: str, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
