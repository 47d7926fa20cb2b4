"""Tell whether the worker works: exit 0 when the loop has moved within two minutes, else 1.

A consumer can lose its broker and go on living as a process. So this looks at the row that the
tick, a task itself, writes each time it runs. It asks Postgres directly: starting Django for each
look would cost seconds.
"""

import os
import sys
from pathlib import Path

import psycopg

_LATEST_SECONDS = 120
_LOOK = "SELECT at > now() - %s * interval '1 second' FROM rotation_heartbeat WHERE name = 'tick'"


def trouble() -> str | None:
    """Return what is wrong in one line, or None."""
    file = os.environ.get("DATABASE_URL_FILE")
    url = Path(file).read_text(encoding="utf-8").strip() if file else os.environ["DATABASE_URL"]
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(_LOOK, [_LATEST_SECONDS]).fetchone()
    except psycopg.OperationalError:
        return "The database does not answer."
    if row is None or not row[0]:
        return f"The loop has not moved for {_LATEST_SECONDS} seconds."
    return None


if __name__ == "__main__":
    sys.exit(trouble())
