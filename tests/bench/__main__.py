"""`make bench`: figures of one interleaved run, as ratios to a yardstick of the same run.

Prints one line a figure (name, value, unit, ratio, goal, ok or short) and writes .run/bench.json.
Each part has servers of its own in a temporary folder; calls go to loopback alone. The database
writes through to the disk, as in production. `python -m tests.bench engine` runs one part.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import engine, fetching, log, starting
from tests.bench.figures import Figure
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
    require_wrk()
    FOLDER.mkdir(exist_ok=True)
    if len(names) == 1:
        _note(names[0], [asdict(one) | {"ok": one.ok} for one in _part(names[0])])
        return 0
    for name in names or PARTS:
        subprocess.run([sys.executable, "-m", "tests.bench", name], check=True)
    parts = [json.loads(_file(name).read_text()) for name in names or PARTS]
    (FOLDER / "bench.json").write_text(
        json.dumps([one for part in parts for one in part], indent=1)
    )
    return 0


def _file(name: str) -> Path:
    return FOLDER / f"bench-{name}.json"


def _note(name: str, figures: list[dict[str, Any]]) -> None:
    _file(name).write_text(json.dumps(figures, indent=1))


def _part(name: str) -> list[Figure]:
    """Measure one part on a stack of its own."""
    from tests import plugin

    os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
    if name == "engine":
        plugin.COMMON.update(engine.SETTINGS)
    plugin.STACK = plugin._start(durable=True)
    try:
        os.environ.update(plugin.STACK.environment("tests"))
        import django

        django.setup()
        return _figures(name, plugin.STACK)
    finally:
        plugin.pytest_unconfigure()


def _figures(name: str, stack: Any) -> list[Figure]:
    from django.core.management import call_command

    call_command("migrate", database="owner", verbosity=0)
    figures = []
    for measure in PARTS[name]:
        for figure in measure(stack):
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            figures.append(figure)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
