"""`make bench`: figures of one interleaved run, as ratios to a yardstick of the same run.

Prints one line a figure (name, value, unit, ratio, goal, ok or short), at the end how many were ok or
short and how many parts failed, and writes .run/bench.json. A part that fails takes no other with it.
Each part has servers of its own in a temporary folder; calls go to loopback alone. The database
writes through to the disk, as in production. `python -m tests.bench engine` runs one part.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import engine, fetching, log, starting
from tests.bench.figures import Figure, summary
from tests.bench.load import require_wrk

PARTS: dict[str, list[Callable[[Any], list[Figure]]]] = {
    "fetching": [fetching.measure],
    "log": [log.measure_writes, log.measure_reads],
    "engine": [engine.measure],
    "starting": [starting.measure],
}
FOLDER = Path(".run")


def main(names: list[str]) -> int:
    """Run one part here, or each part in a process of its own, and put the figures together."""
    FOLDER.mkdir(exist_ok=True)
    if len(names) == 1:
        _part(names[0])
        return 0
    figures, words = [], Counter[str]()
    for name in names or PARTS:
        _file(name).unlink(missing_ok=True)
        done = subprocess.run([sys.executable, "-m", "tests.bench", name], check=False)
        if done.returncode:
            words["failed"] += 1
            sys.stdout.write(f"{name} failed: its lines above say why\n")
        if _file(name).exists():
            figures += json.loads(_file(name).read_text())
    (FOLDER / "bench.json").write_text(json.dumps(figures, indent=1))
    words.update("ok" if one["ok"] else "short" for one in figures)
    sys.stdout.write(summary("bench", words) + "\n")
    return int(words["failed"] > 0)


def _file(name: str) -> Path:
    return FOLDER / f"bench-{name}.json"


def _note(name: str, figures: list[Figure]) -> None:
    """Keep what was measured so far: what comes after it may fail."""
    rows = [asdict(one) | {"ok": one.ok} for one in figures]
    _file(name).write_text(json.dumps(rows, indent=1))


def _part(name: str) -> None:
    """Measure one part on a stack of its own."""
    from tests import plugin

    if name not in PARTS:
        sys.exit(f"There is no part “{name}”: take {', '.join(PARTS)}. Nothing was measured.")
    if name == "fetching":
        require_wrk()

    os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
    if name == "engine":
        plugin.COMMON.update(engine.SETTINGS)
    plugin.STACK = plugin._start(durable=True)
    try:
        os.environ.update(plugin.STACK.environment("tests"))
        import django

        django.setup()
        _figures(name, plugin.STACK)
    finally:
        plugin.pytest_unconfigure()


def _figures(name: str, stack: Any) -> None:
    from django.core.management import call_command

    call_command("migrate", database="owner", verbosity=0)
    figures: list[Figure] = []
    for measure in PARTS[name]:
        for figure in measure(stack):
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            figures.append(figure)
            _note(name, figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
