"""`make soak MINUTES=10`: the last line is a summary; exit status 1 when an invariant broke.

Beside faults of every part there are lies of the vendor, and programs as they really are (odd.py):
no call of a holder within its own rhythm may be refused by what was done here.

SOAK_SEED repeats a run's faults (not its timing). Everything lies in a temporary folder.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

KEYS, APPLICATIONS, MANUAL = 50, 10, 10
# Applications call every two seconds, so a key that is quiet for less is not out of use.
SETTINGS = {
    "DEFAULT_QUIET_SECONDS": "15",
    "MAX_KEYS_CREATED_PER_DAY": "100000",
    "MAX_ROTATIONS_PER_ACCOUNT": "100",
    "TICK_SECONDS": "1",
}


def main() -> int:
    """Run the soak, print what came of it, and return the exit status."""
    minutes = float(os.environ.get("MINUTES", "10"))
    seed = int(os.environ.get("SOAK_SEED", time.time_ns() % 1_000_000))
    say(f"soak: {minutes:g} minutes, SOAK_SEED={seed}")
    from tests import plugin

    os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
    plugin.COMMON.update(SETTINGS)
    plugin.STACK = plugin._start()
    try:
        os.environ.update(plugin.STACK.environment("tests"))
        import django

        django.setup()
        return _run(plugin.STACK, minutes, seed)
    finally:
        plugin.pytest_unconfigure()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(stack: Any, minutes: float, seed: int) -> int:
    from django.core.management import call_command

    from tests.soak import scene
    from tests.soak.nemesis import Nemesis

    call_command("migrate", database="owner", verbosity=0)
    with ExitStack() as running:
        vendor = running.enter_context(scene.vendor(stack))
        url = running.enter_context(scene.web(stack))
        workers = scene.Workers(stack, 2)
        running.callback(workers.stop)
        world = scene.World(stack, vendor, url, KEYS, MANUAL, APPLICATIONS)
        counts = running.enter_context(scene.applications(world))
        say(f"{KEYS} keys, {APPLICATIONS} applications, {len(workers)} workers; faults begin")
        nemesis = Nemesis(world, workers, seed)
        with _in_background(world.keep_busy), _in_background(world.be_the_person):
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                nemesis.strike()
                nemesis.let_pass(nemesis.pause())
            vendor.clear_faults()
        say("faults ended; waiting until all is quiet")
        with _in_background(world.be_the_person):
            problem = world.problem_when_quiet()
        return _report(world, nemesis, counts(), minutes, problem)


@contextmanager
def _in_background(work: Any) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _report(world: Any, nemesis: Any, counts: dict[str, Any], minutes: float, problem: str) -> int:
    facts = world.facts()
    say(f"faults: {json.dumps(dict(nemesis.done))}")
    say(f"rotations: {json.dumps(facts)}")
    say(f"applications: {json.dumps(counts)}")
    if problem:
        say(problem)
    bad = bool(problem or counts["refused"])
    say(
        f"soak {'FAILED' if bad else 'ok'}: {minutes:g} minutes, {facts['done']} rotations done, "
        f"{facts['creates']} creates, {facts['strays_deleted']} orphans found and deleted, "
        f"{facts['suppressed']} duplicates suppressed, longest {facts['longest_seconds']} s, "
        f"{counts['refused']} of {counts['calls']} calls refused"
    )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
