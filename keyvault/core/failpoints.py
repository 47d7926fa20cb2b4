"""Named points around every side effect, where a test can make the process die.

Nothing happens unless the environment variable CRASH_AT names the point: then the process is gone
at once, as after a power cut, with nothing flushed, closed or rolled back by us.
"""

import os
import signal


def reached(point: str) -> None:
    """Die here if CRASH_AT says so (`name`, or `name:hold` to stop like a frozen machine)."""
    armed = os.environ.get("CRASH_AT", "")
    if armed == point:
        os.kill(os.getpid(), signal.SIGKILL)
    if armed == f"{point}:hold":
        os.kill(os.getpid(), signal.SIGSTOP)
