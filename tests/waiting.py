"""Wait for a condition with a deadline: the only way in which tests let time pass."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 20.0, what: str = "") -> T:
    """Return the first truthy value of `condition`; fails when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what or condition}")
        pause.wait(0.05)
