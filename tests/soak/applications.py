"""The applications of the soak, in a process of their own: the sample application's code, many times.

Reads FOLDER/applications.json (a list of its config objects) and writes FOLDER/counts.json.
"""

import contextlib
import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

from sandbox import app
from tests.soak.holders import start

CALL_SECONDS, POLL_SECONDS = 2.0, 3.0


def main(folder: Path) -> None:
    """Hold every key of the list as an application would, until the process is ended."""
    app.CALL_SECONDS, app.POLL_SECONDS = CALL_SECONDS, POLL_SECONDS
    configs = json.loads((folder / "applications.json").read_text())
    never = threading.Event()
    statuses = []
    for one in configs:
        kind = one.pop("kind")
        statuses += [
            (kind, one["key_id"], status) for status in start(kind, app.Config(**one), folder)
        ]
    while True:
        _count(folder, statuses)
        never.wait(0.5)


def _count(folder: Path, statuses: list[tuple[str, int, app.Status]]) -> None:
    """Write what the programs counted, those apart whose key the vendor itself ended early."""
    names = ("calls", "ok", "refused", "other", "fetches")
    ours = [status for kind, _, status in statuses if kind != "doomed"]
    counts: dict[str, Any] = {name: sum(getattr(status, name) for status in ours) for name in names}
    counts["holding"] = sum(1 for _, _, status in statuses if status.version_held)
    counts["refused_early"] = sum(s.refused for kind, _, s in statuses if kind == "doomed")
    counts["refused_by_kind"] = {
        f"{kind} {key}": status.refused
        for kind, key, status in statuses
        if status.refused and kind != "doomed"
    }
    new = folder / "counts.new"
    new.write_text(json.dumps(counts))
    new.replace(folder / "counts.json")


if __name__ == "__main__":
    # What each of fifty applications says would bury what counts.
    with contextlib.redirect_stderr(io.StringIO()):
        main(Path(sys.argv[1]))
