"""Secrets that this process gave out lately, so that the store is asked once a version and minute.

A version's secret never changes, and which version is the current one is read from the database for
each fetch: a published, withdrawn or deleted version takes effect with the next request, in every
process. Only what is done in the store itself, behind our back, shows up to a minute later.
"""

import threading
import time
import uuid
from collections import OrderedDict

from django.conf import settings

from keyvault.secret_text import Secret

_MOST = 5000
_kept: OrderedDict[uuid.UUID, tuple[Secret, float]] = OrderedDict()
_lock = threading.Lock()


def get(path: uuid.UUID) -> Secret | None:
    """Return the secret at this path if it was read within FETCH_CACHE_SECONDS."""
    with _lock:
        found = _kept.get(path)
        if found is None:
            return None
        secret, until = found
        if time.monotonic() < until:
            return secret
        del _kept[path]
        return None


def put(path: uuid.UUID, secret: Secret) -> None:
    """Keep a secret that was just read and compared with its fingerprint."""
    if settings.FETCH_CACHE_SECONDS <= 0:
        return
    with _lock:
        _kept[path] = (secret, time.monotonic() + settings.FETCH_CACHE_SECONDS)
        _kept.move_to_end(path)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def forget() -> None:
    """Keep nothing any more."""
    with _lock:
        _kept.clear()
