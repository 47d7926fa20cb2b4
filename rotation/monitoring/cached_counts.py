"""Counts over many keys: made anew each time, and kept for a minute where that takes long."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.utils import timezone

from keyvault.core.ttl_cache import TTLCache

LONG_SECONDS = 0.25
_KEPT_SECONDS = 60.0
V = TypeVar("V")


@dataclass(frozen=True)
class Counted(Generic[V]):
    """What was counted, and when."""

    value: V
    at: datetime


class CachedCounts(Generic[V]):
    """The last answers to questions that took long; a question names what the asker may see."""

    def __init__(self) -> None:
        self._answers: TTLCache[Hashable, Counted[V]] = TTLCache(100)

    def ask(
        self, question: Hashable, count: Callable[[], V], long_seconds: float = LONG_SECONDS
    ) -> Counted[V]:
        """Return what `count` returns, or did within the last minute if it took `long_seconds`."""
        began = time.monotonic()
        if (known := self._answers.get(question, began)) is not None:
            return known
        counted = Counted(count(), timezone.now())
        now = time.monotonic()
        if now - began > long_seconds:
            self._answers.put(question, counted, now + _KEPT_SECONDS)
        return counted

    def forget(self) -> None:
        """Count anew the next time."""
        self._answers.clear()
