"""P8 and P9: rows that are appended to the audit chain, and rows that are verified."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.bench.fetching import ROUNDS, SECONDS
from tests.bench.figures import Figure, middle

ROWS = int(os.environ.get("BENCH_ROWS", "600000"))
CLIENTS = 16


def measure_writes(_stack: Any) -> list[Figure]:
    """P8: rows of the chain that sixteen clients write, beside plain rows with a commit each."""
    from django.db import connections

    from keyvault.audit.actors import system_actor
    from keyvault.audit.log import record_now
    from keyvault.audit.models import Action

    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_plain (id bigserial PRIMARY KEY, payload text, at timestamptz)"
        )
        role = connections["audit"].settings_dict["USER"]
        cursor.execute(f'GRANT INSERT ON bench_plain TO "{role}"')
        cursor.execute(f'GRANT USAGE ON SEQUENCE bench_plain_id_seq TO "{role}"')
    actor, text = system_actor("bench"), "x" * 400

    def chained() -> None:
        record_now(Action.KEY_CHECKED, actor, reason="bench")

    def plain() -> None:
        with connections["audit"].cursor() as cursor:
            cursor.execute("INSERT INTO bench_plain (payload, at) VALUES (%s, now())", [text])

    rates: dict[str, list[float]] = {"chain": [], "plain": []}
    for _ in range(ROUNDS):
        rates["plain"].append(_threads(plain))
        rates["chain"].append(_threads(chained))
    with connections["owner"].cursor() as cursor:
        cursor.execute("DROP TABLE bench_plain")
    chain, flat = middle(rates["chain"]), middle(rates["plain"])
    return [Figure("P8_chained_rows_16_clients", chain, "rows/s", chain / flat, 0.25)]


def measure_reads(_stack: Any) -> list[Figure]:
    """P9: rows that `verifyaudit` checks a second, by one process and by two, and its memory."""
    import psutil
    from django.utils import timezone

    from keyvault.audit.verify import verify
    from tests.bench import data

    with data.bulk() as cursor:
        data.add_audit(cursor, 1, 10_000, ROWS, timezone.now())
        cursor.execute("VACUUM ANALYZE audit_auditevent")
    before, alone, wall, together = psutil.Process().memory_info().rss, [], [], []
    for _ in range(3):
        spent, began = time.process_time(), time.perf_counter()
        report = verify(processes=1)
        assert report.ok, report.problem
        alone.append(report.rows / (time.process_time() - spent))
        wall.append(report.rows / (time.perf_counter() - began))
        began = time.perf_counter()
        assert verify(processes=2).ok
        together.append(report.rows / (time.perf_counter() - began))
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    return [
        Figure("P9_verified_rows", middle(alone), "rows/s a core", None, 100_000),
        Figure("P9_two_processes", middle(together), "rows/s", middle(together) / middle(wall), 1),
        Figure("P9_memory_grown", grown, "MB", None, 60, most=True),
    ]


def _threads(act: Callable[[], None]) -> float:
    """Return how often a second the clients do it, each on connections of its own."""
    from django.db import connections

    counts, end = [0] * CLIENTS, time.monotonic() + SECONDS

    def run(place: int) -> None:
        while time.monotonic() < end:
            act()
            counts[place] += 1
        connections.close_all()

    threads = [threading.Thread(target=run, args=[place]) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS
