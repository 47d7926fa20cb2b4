"""Encrypt small things that must stand in the database: sessions, seeds of authenticators.

The keys are derived from settings that are kept outside the database, one for each purpose.
"""

import base64
import functools

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_OF_SESSIONS = ("session", "shown")


def sealer(purpose: str) -> Fernet:
    """Return what encrypts and decrypts for this purpose.

    Sessions, and what is shown in one, end when SECRET_KEY changes; what must outlive that hangs on
    FINGERPRINT_KEY.
    """
    key = settings.SECRET_KEY if purpose in _OF_SESSIONS else settings.FINGERPRINT_KEY
    return _sealer(key, purpose)


@functools.lru_cache(maxsize=8)
def _sealer(key: str, purpose: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=f"keyvault {purpose}".encode()).derive(
        key.encode()
    )
    return Fernet(base64.urlsafe_b64encode(derived))
