"""P6: whole rotations by 1, 2 and 4 worker processes, beside bare tasks with as many calls."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.figures import Figure
from tests.bench.load import spent_by_part

KEYS = int(os.environ.get("BENCH_KEYS", "60"))
WORKERS = (1, 2, 4)
_CORES = 2
# Ours alone: what would make a run wait for the clock and not for the engine.
SETTINGS = {
    "DEFAULT_QUIET_SECONDS": "0",
    "MAX_KEYS_CREATED_PER_DAY": "100000",
    "MAX_ROTATIONS_PER_ACCOUNT": "1000",
    "TICK_SECONDS": "0.5",
}
_FAST = {
    "propagation_seconds": 0.05,
    "steady_spacing_seconds": 0.05,
    "list_lag_seconds": 0.05,
}


@dataclass(frozen=True)
class Needs:
    """What one rotation asks of others: SQL statements, those that commit, calls to two servers."""

    statements: int
    commits: int
    vendor: int
    store: int


def measure(stack: Any) -> list[Figure]:
    """Count what one rotation needs, then rotate all keys with each number of workers."""
    from tests.factories import lone_key, make_people, make_place
    from tests.soak import scene

    with ExitStack() as running:
        vendor = running.enter_context(scene.vendor(stack))
        place = make_place(vendor)
        place.api_account.settings = _FAST
        place.api_account.save()
        people = make_people(place)
        keys = [
            lone_key(vendor, place, people.owner, name=f"engine {number}") for number in range(KEYS)
        ]
        needs = _needs(stack, vendor, people.owner, keys[0])
        figures = [
            Figure(f"P6_a_rotation_{name}", value, "count", None, 0)
            for name, value in asdict(needs).items()
        ]
        for count in WORKERS:
            with _workers(stack, count, _as_bare(needs, stack, vendor)):
                before = spent_by_part()
                whole = _rotations(people.owner, keys)
                cost = spent_by_part() - before
                bare = _bare(keys)
            name = f"P6_rotations_{count}_workers"
            figures.append(Figure(name, whole, "a second", whole / bare, 0.5))
            if count == _CORES:
                figures += [
                    Figure(f"P6_cpu_of_{part}", 1000 * seconds / KEYS, "ms a rotation", None, 0)
                    for part, seconds in sorted(cost.items())
                ]
    return figures


def _needs(stack: Any, vendor: Any, by: Any, key: Any) -> Needs:
    """Follow one rotation in this process, and count."""
    from django.utils import timezone

    from rotation.engine import runner
    from tests.api_client import counting
    from tests.rotation.driving import started
    from tests.waiting import until

    def is_due() -> bool:
        rotation.refresh_from_db()
        return not rotation.is_open or bool(rotation.due_at and rotation.due_at < timezone.now())

    asked, read, sent = len(vendor.ledger()), _lines(stack), []
    rotation = started(by, key)
    while rotation.is_open:
        until(is_due, what="the next step to be due")
        with counting() as statements:
            runner.advance(rotation.pk)
        sent += statements
        rotation.refresh_from_db()
    # The store notes each call twice: what was asked, and what it answered.
    store = (_lines(stack) - read) // 2
    return Needs(len(sent), _commits(sent), len(vendor.ledger()) - asked, store)


def _commits(statements: list[str]) -> int:
    """Count transactions that write: a change outside of one is one by itself."""
    count, inside = 0, False
    for statement in statements:
        if statement == "BEGIN":
            inside = True
        elif statement == "COMMIT":
            count, inside = count + 1, False
        elif not inside and statement.lstrip().startswith(("UPDATE", "INSERT", "DELETE", "CALL")):
            count += 1
    return count


def _as_bare(needs: Needs, stack: Any, vendor: Any) -> str:
    reads = needs.statements - needs.commits
    store = f"{stack.openbao.address}/v1/sys/health"
    return f"{reads} {needs.commits} {needs.vendor}x{vendor.url}/v1/account/usage {needs.store}x{store}"


def _lines(stack: Any) -> int:
    return int(stack.openbao.audit_log.read_text().count("\n"))


@contextmanager
def _workers(stack: Any, count: int, bare: str) -> Iterator[None]:
    """Run so many worker processes, one of them with the clock, until they take work."""
    from rotation.models import Heartbeat
    from tests.conftest import Process
    from tests.waiting import until

    Heartbeat.objects.all().delete()
    command = ["celery", "-A", "keyvault", "worker", "-c", "1", "-I", "tests.bench.bare"]
    running = []
    for number in range(count):
        beat = ["-B", "-s", str(stack.folder / f"beat-bench-{count}")] if number == 0 else []
        name = ["-n", f"bench{number}@here", "--loglevel", "WARNING"]
        running.append(Process(stack, "worker", [*command, *beat, *name], BENCH_BARE=bare))
    try:
        pulses = Heartbeat.objects.filter(name__startswith="worker:bench")
        until(lambda: pulses.count() == count, 60, "the workers")
        yield
    finally:
        for process in running:
            process.stop()


def _rotations(by: Any, keys: list[Any]) -> float:
    """Start a rotation of each key; return how many were done a second."""
    from rotation.models import Rotation, Step
    from tests.rotation.driving import started
    from tests.waiting import until

    for key in keys:
        key.refresh_from_db()
    began = time.monotonic()
    mine = [started(by, key).pk for key in keys]
    done = Rotation.objects.filter(pk__in=mine, step=Step.DONE)
    until(lambda: done.count() == len(keys), 300, "all rotations to be done")
    return len(keys) / (time.monotonic() - began)


def _bare(keys: list[Any]) -> float:
    """Send as many bare tasks; return how many were done a second."""
    from celery import current_app
    from django.utils import timezone

    from rotation.models import Heartbeat
    from tests.waiting import until

    for key in keys:
        Heartbeat.objects.update_or_create(name=f"bare {key.pk}", defaults={"at": timezone.now()})
    with current_app.connection_for_read() as link:
        channel: Any = link.default_channel
        broker = channel.client
        began = time.monotonic()
        for key in keys:
            current_app.send_task("bench.bare", [key.pk])
        until(
            lambda: not broker.llen("celery") and not broker.hlen("unacked"),
            300,
            "all bare tasks to be done",
        )
        return len(keys) / (time.monotonic() - began)
