"""How the whole stands, from dates and rows and not from anyone's word: for health, Home and metrics.

What is overdue is computed from when it was due, so it shows although the loop that would notice it
stands still.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from rotation import dependencies

_LEAST_LATE = timedelta(seconds=60)
WORKER_LATE = timedelta(seconds=120)
_OVERDUE_AFTER = timedelta(hours=1)
_CHECKPOINT_LATE = timedelta(minutes=3)
_MOST_SKEW = 2.0
_RECONCILE_LATE = timedelta(days=2)

_LOOK = """
SELECT
    (SELECT at FROM rotation_heartbeat WHERE name = 'tick') AS tick,
    (SELECT at FROM rotation_heartbeat WHERE name = 'reconcile') AS reconciled,
    (SELECT count(*) FROM rotation_heartbeat
        WHERE name LIKE 'worker:%%' AND at > now() - make_interval(secs => %(worker)s)) AS workers,
    (SELECT min(due_at) FROM rotation_rotation WHERE finished_at IS NULL AND due_at <= now()
        AND (claimed_until IS NULL OR claimed_until < now())) AS oldest_due,
    (SELECT count(*) FROM rotation_rotationpolicy
        WHERE enabled AND next_run_at < now() - make_interval(secs => %(overdue)s)) AS overdue,
    (SELECT min(due_at) FROM rotation_delivery
        WHERE state = 'waiting' AND due_at <= now()) AS oldest_delivery,
    (SELECT max(created_at) FROM audit_checkpoint) AS sealed,
    (SELECT at FROM audit_auditevent WHERE seq =
        coalesce((SELECT max(seq) FROM audit_checkpoint), 0) + 1) AS oldest_unsealed,
    (SELECT h.seq - coalesce((SELECT max(seq) FROM audit_checkpoint), 0)
        FROM audit_chainhead h WHERE id = 1) AS unsealed,
    (SELECT count(*) FROM rotation_outage WHERE told_at IS NOT NULL) AS outages,
    (SELECT frozen_why FROM rotation_epoch WHERE id = 1) AS frozen,
    extract(epoch FROM now()) AS now, now() AS at
"""


@dataclass(frozen=True)
class Vitals:
    """Ages in seconds (None: never), counts, and the two clocks' distance from ours in seconds."""

    tick_age: float | None
    reconcile_age: float | None
    workers: int
    oldest_due_age: float
    overdue_keys: int
    oldest_delivery_age: float
    checkpoint_age: float | None
    oldest_unsealed_age: float
    unsealed_rows: int
    outages: int
    frozen: str
    database_skew: float


def look() -> Vitals:
    """Read everything in one statement; raises the database's own error when it is away."""
    with connection.cursor() as cursor:
        ages = {"worker": WORKER_LATE, "overdue": _OVERDUE_AFTER}
        cursor.execute(_LOOK, {name: age.total_seconds() for name, age in ages.items()})
        ours = time.time()
        names = [column[0] for column in cursor.description]
        row: dict[str, Any] = dict(zip(names, cursor.fetchone(), strict=True))

    def since(name: str) -> float | None:
        return None if row[name] is None else float((row["at"] - row[name]).total_seconds())

    return Vitals(
        tick_age=since("tick"),
        reconcile_age=since("reconciled"),
        workers=row["workers"],
        oldest_due_age=since("oldest_due") or 0.0,
        overdue_keys=row["overdue"],
        oldest_delivery_age=since("oldest_delivery") or 0.0,
        checkpoint_age=since("sealed"),
        oldest_unsealed_age=since("oldest_unsealed") or 0.0,
        unsealed_rows=row["unsealed"] or 0,
        outages=row["outages"],
        frozen=row["frozen"] or "",
        database_skew=float(row["now"]) - ours,
    )


def vault_skew(state: dict[str, Any]) -> float:
    """Return how far Vault's clock (whole seconds) is from ours, in seconds."""
    told = state.get("server_time")
    return float(told) - time.time() if isinstance(told, int | float) else 0.0


def loop_late(vitals: Vitals) -> bool:
    """Return whether the loop has missed several turns."""
    allowed = max(_LEAST_LATE, timedelta(seconds=10 * settings.TICK_SECONDS))
    return vitals.tick_age is None or vitals.tick_age > allowed.total_seconds()


def problems(
    vitals: Vitals, vault: dict[str, Any], broker: dependencies.Broker, *, audit: bool = True
) -> list[str]:
    """Say in words what is wrong and what to do about it; empty when all is well."""
    # By the row that has waited longest: after a quiet night the last checkpoint is old, and right.
    # guard: the oldest unsigned row counts
    unsealed = vitals.oldest_unsealed_age > _CHECKPOINT_LATE.total_seconds()
    late = vitals.reconcile_age is not None and (
        vitals.reconcile_age > _RECONCILE_LATE.total_seconds()
    )
    found = {
        "The loop stands still: look whether beat and worker run.": loop_late(vitals),
        "No worker takes its work: start one, or look at its log.": vitals.workers == 0,
        f"{vitals.overdue_keys} keys are overdue for rotation.": vitals.overdue_keys > 0,
        f"A rotation has been due for {vitals.oldest_due_age / 60:.0f} minutes and nobody moves it."
        "": vitals.oldest_due_age > WORKER_LATE.total_seconds(),
        f"A webhook has waited for {vitals.oldest_delivery_age / 60:.0f} minutes to be sent.": (
            vitals.oldest_delivery_age > WORKER_LATE.total_seconds()
        ),
        "The audit log cannot be written: no secret is given and nothing is changed. Look at the "
        "database's disk, its log, and the rights of this service's role.": not audit,
        "No audit checkpoint was signed for 3 minutes: look at the worker's log.": unsealed,
        f"{vitals.outages} vendors or stores are away; see the tasks.": vitals.outages > 0,
        f"Deletion is frozen. {vitals.frozen}": bool(vitals.frozen),
        "The nightly comparison has not run for two days.": late,
        "The database's clock and ours differ by more than 2 seconds.": (
            abs(vitals.database_skew) > _MOST_SKEW
        ),
        "Vault does not answer.": not vault["reachable"],
        "Vault is sealed: unseal it.": bool(vault["sealed"]),
        "Vault says that it is well and gives no secret: look at its audit log's disk, and at the "
        "policy of this process.": (
            bool(vault["reachable"]) and not vault["sealed"] and not vault.get("reads", True)
        ),
        "Vault's clock and ours differ by more than 2 seconds.": (
            abs(vault_skew(vault)) > _MOST_SKEW + 1  # it tells whole seconds only
        ),
        "The broker does not answer: everything works, only slower.": not broker.there,
        f"The broker may evict messages (maxmemory-policy {broker.eviction}): set noeviction.": (
            broker.evicts
        ),
    }
    return [text for text, true in found.items() if true]


def all_problems() -> list[str]:
    """Look at everything and say what is wrong."""
    return problems(
        look(), dependencies.vault_state(), dependencies.broker_facts(), audit=dependencies.audit()
    )
