"""A bounded memory of what is true for a while; the oldest goes first."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class TTLCache(Generic[K, V]):
    """At most `most` things by name, each with the second after which it is forgotten.

    Safe for threads. Which clock the seconds are of is for the user to say: each call names the time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: K, now: float) -> V | None:
        """Return what is kept under this name, if its time has not passed."""
        with self._lock:
            found = self._kept.get(name)
            if found is None:
                return None
            # guard: the store is asked again after a minute
            if now < found[1]:
                return found[0]
            del self._kept[name]
            return None

    def put(self, name: K, value: V, until: float) -> None:
        """Keep it until then, in place of what was there."""
        with self._lock:
            self._kept[name] = (value, until)
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
