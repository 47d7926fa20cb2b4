"""Tell whether this worker works: exit 0 when it has taken work within two minutes, else 1.

A consumer can lose its broker and go on living as a process. So this looks at the row that the
pulse, a task that every worker gets a copy of, writes under the worker's own name. With `beat` it
looks at the row of the loop instead. It asks Postgres directly: starting Django for each look would
cost seconds.
"""

import os
import socket
import sys
from pathlib import Path

import psycopg

_LATEST_SECONDS = 120
_LOOK = "SELECT at > now() - %s * interval '1 second' FROM rotation_heartbeat WHERE name = %s"


def trouble(name: str) -> str | None:
    """Return what is wrong in one line, or None."""
    file = os.environ.get("DATABASE_URL_FILE")
    url = Path(file).read_text(encoding="utf-8").strip() if file else os.environ["DATABASE_URL"]
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(_LOOK, [_LATEST_SECONDS, name]).fetchone()
    except psycopg.OperationalError:
        return "The database does not answer."
    if row is None or not row[0]:
        return f"{name} has not moved for {_LATEST_SECONDS} seconds."
    return None


if __name__ == "__main__":
    sys.exit(trouble("tick" if "beat" in sys.argv else f"worker:celery@{socket.gethostname()}"))
