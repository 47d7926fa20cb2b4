"""Secrets that this process gave out lately, so that the store is asked once a version and minute.

A version's secret never changes, and which version is the current one is read from the database for
each fetch: a published, withdrawn or deleted version takes effect with the next request, in every
process. Only what is done in the store itself, behind our back, shows up to a minute later.
"""

import time
import uuid

from django.conf import settings

from keyvault.core.secret import Secret
from keyvault.core.ttl_cache import TTLCache

_kept: TTLCache[uuid.UUID, Secret] = TTLCache(5000)


def get(path: uuid.UUID) -> Secret | None:
    """Return the secret at this path if it was read within FETCH_CACHE_SECONDS."""
    return _kept.get(path, time.monotonic())


def put(path: uuid.UUID, secret: Secret) -> None:
    """Keep a secret that was just read and compared with its fingerprint."""
    if settings.FETCH_CACHE_SECONDS > 0:
        _kept.put(path, secret, time.monotonic() + settings.FETCH_CACHE_SECONDS)


def forget() -> None:
    """Keep nothing any more."""
    _kept.clear()
