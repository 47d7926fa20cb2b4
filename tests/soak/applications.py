"""The applications of the soak, in a process of their own: the sample application's code, many times.

Reads FOLDER/applications.json (a list of its config objects) and writes FOLDER/counts.json.
"""

import contextlib
import io
import json
import sys
import threading
from pathlib import Path

from sandbox import app

CALL_SECONDS, POLL_SECONDS = 2.0, 3.0


def main(folder: Path) -> None:
    """Hold every key of the list as an application would, until the process is ended."""
    app.CALL_SECONDS, app.POLL_SECONDS = CALL_SECONDS, POLL_SECONDS
    configs = json.loads((folder / "applications.json").read_text())
    statuses, never = [], threading.Event()
    for one in configs:
        config, status = app.Config(**one), app.Status()
        holder = app.KeyHolder(config, status)
        caller = app.Caller(config, status, holder)
        statuses.append(status)
        for work in (holder.keep_current, caller.run):
            threading.Thread(target=work, daemon=True).start()
    while True:
        names = ("calls", "ok", "refused", "other", "fetches")
        counts = {name: sum(getattr(status, name) for status in statuses) for name in names}
        counts["holding"] = sum(1 for status in statuses if status.version_held)
        counts["refused_keys"] = [
            config["key_id"]
            for config, status in zip(configs, statuses, strict=True)
            if status.refused
        ]
        new = folder / "counts.new"
        new.write_text(json.dumps(counts))
        new.replace(folder / "counts.json")
        never.wait(0.5)


if __name__ == "__main__":
    # What each of fifty applications says would bury what counts.
    with contextlib.redirect_stderr(io.StringIO()):
        main(Path(sys.argv[1]))
