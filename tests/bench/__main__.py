"""`make bench`: figures of one interleaved run, as ratios to a yardstick of the same run.

Prints one line a figure (name, value, unit, ratio, goal, ok or short) and writes .run/bench.json.
Everything lies in a temporary folder; calls go to loopback alone.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
ROWS, CLIENTS = 20_000, 16


@dataclass
class Figure:
    """One measured thing; `goal` says what `ratio` should be at least (or `value`, without one)."""

    name: str
    value: float
    unit: str
    ratio: float | None
    goal: float

    @property
    def ok(self) -> bool:
        """Return whether the goal was reached."""
        return (self.value if self.ratio is None else self.ratio) >= self.goal

    def line(self) -> str:
        """Return the line that is printed."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        word = "ok" if self.ok else "short"
        return f"{self.name} {self.value:.1f} {self.unit} {ratio} {self.goal:g} {word}"


def main() -> int:
    """Run the benchmarks on a stack of their own."""
    from tests import plugin

    os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
    plugin.STACK = plugin._start()
    try:
        os.environ.update(plugin.STACK.environment("tests"))
        import django

        django.setup()
        figures = _all(plugin.STACK)
    finally:
        plugin.pytest_unconfigure()
    folder = Path(".run")
    folder.mkdir(exist_ok=True)
    told = [{**asdict(one), "ok": one.ok} for one in figures]
    (folder / "bench.json").write_text(json.dumps(told, indent=1))
    return 0


def _all(stack: Any) -> list[Figure]:
    from django.core.management import call_command

    call_command("migrate", database="owner", verbosity=0)
    figures: list[Figure] = []
    for part in (_fetch, _audit_writes, _audit_reads):
        for figure in part(stack):
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            figures.append(figure)
    return figures


def _fetch(stack: Any) -> list[Figure]:
    """P1 and P2: an audited fetch, and one that is unchanged, beside OpenBao's own read."""
    from tests.bench.load import rate
    from tests.soak import scene

    with ExitStack() as running:
        vendor = running.enter_context(scene.vendor(stack))
        url = running.enter_context(scene.web(stack))
        address, token, bao = _world(stack, vendor)
        wanted = {"Authorization": f"Bearer {token}"}
        at, unchanged = (
            f"{url}{address}",
            {**wanted, "If-None-Match": _etag(f"{url}{address}", token)},
        )
        rates: dict[str, list[float]] = {"fetch": [], "unchanged": [], "store": []}
        for _ in range(ROUNDS):
            rates["store"].append(rate(bao[0], bao[1], SECONDS))
            rates["fetch"].append(rate(at, wanted, SECONDS))
            rates["unchanged"].append(rate(at, unchanged, SECONDS, expected=304))
    store, fetch, same = (_middle(rates[name]) for name in ("store", "fetch", "unchanged"))
    return [
        Figure("P0_store_read", store, "req/s", None, 0),
        Figure("P1_audited_fetch", fetch, "req/s", fetch / store, 1.0),
        Figure("P2_unchanged_fetch", same, "req/s", same / fetch, 1.5),
    ]


def _world(stack: Any, vendor: Any) -> tuple[str, str, tuple[str, dict[str, str]]]:
    """Record one key; return the path to fetch it, a token, and how to read it from the store."""
    from keyvault import tokens
    from tests.factories import make_key, make_people, make_place
    from tests.keyvault.vault import inspector

    place = make_place(vendor)
    people = make_people(place)
    key = make_key(vendor, place, people.owner)
    _, text = tokens.issue(people.owner, "bench", place.application, place.environment)
    assert key.current is not None
    path = f"{stack.openbao.address}/v1/keyvault/data/keys/{key.current.path}"
    store = (path, {"X-Vault-Token": str(inspector(stack.openbao).token)})
    return f"/api/v1/keys/{key.pk}/secret", text.reveal(), store


def _etag(url: str, token: str) -> str:
    import requests

    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    return answer.headers["ETag"]


def _audit_writes(_stack: Any) -> list[Figure]:
    """P8: rows of the chain that sixteen clients write, beside plain rows with a commit each."""
    from django.db import connections

    from keyvault.audit.log import record_now, system_actor
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
        rates["plain"].append(_threads(plain, CLIENTS))
        rates["chain"].append(_threads(chained, CLIENTS))
    with connections["owner"].cursor() as cursor:
        cursor.execute("DROP TABLE bench_plain")
    chain, flat = _middle(rates["chain"]), _middle(rates["plain"])
    return [Figure("P8_chained_rows_16_clients", chain, "rows/s", chain / flat, 0.25)]


def _audit_reads(_stack: Any) -> list[Figure]:
    """P9: rows that `verifyaudit` checks a second, on one core."""
    from keyvault.audit.log import record_now, system_actor
    from keyvault.audit.models import Action, AuditEvent
    from keyvault.audit.verify import verify

    while AuditEvent.objects.count() < ROWS:
        for _ in range(1000):
            record_now(Action.KEY_CHECKED, system_actor("bench"), reason="bench")
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        report = verify()
        assert report.ok, report.problem
        rates.append(report.rows / (time.process_time() - began))
    return [Figure("P9_verified_rows", _middle(rates), "rows/s a core", None, 100_000)]


def _threads(act: Callable[[], None], clients: int) -> float:
    """Return how often a second so many threads do it, each on connections of its own."""
    from django.db import connections

    counts, end = [0] * clients, time.monotonic() + SECONDS

    def run(place: int) -> None:
        while time.monotonic() < end:
            act()
            counts[place] += 1
        connections.close_all()

    threads = [threading.Thread(target=run, args=[place]) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
