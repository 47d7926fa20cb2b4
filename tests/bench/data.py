"""Build a large installation with COPY: skewed ages, several accounts, a chain that verifies."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, transaction

from keyvault.audit.verify import row_hash

ACCOUNTS, ENVIRONMENTS, MOST_APPLICATIONS = 4, 3, 5000
_WORDS = ("video", "upload", "reports", "billing", "search", "audience", "export", "creator")
_ACTS = (
    ("secret.fetched", 70),
    ("key.checked", 15),
    ("rotation.moved", 8),
    ("secret.revealed", 2),
    ("member.signed_in", 5),
)


@contextmanager
def bulk() -> Iterator[Any]:
    """Give a cursor of the owner whose statements may take as long as a slow disk needs.

    The limits of the role are there to end what went wrong in the product. They hold again after it.
    """
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with connections["owner"].cursor() as cursor:
        for limit in limits:
            cursor.execute(f"SET {limit} = 0")
        try:
            yield cursor
        finally:
            for limit in limits:
                cursor.execute(f"RESET {limit}")


def build(keys: int, audit: int, now: datetime) -> None:
    """Fill an empty installation with so many keys and audit rows."""
    with bulk() as cursor, transaction.atomic("owner"):
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
        _places(cursor, keys)
        first = _keys(cursor, keys, now)
        add_audit(cursor, first, keys, audit, now)
        cursor.execute("ANALYZE")


def _places(cursor: Any, keys: int) -> None:
    cursor.execute(
        "INSERT INTO keyvault_account (name, provider, base_url, dashboard_url, settings, created_at)"
        " SELECT 'Bench account ' || n, 'influtics', 'https://vendor.invalid', '', '{}', now()"
        " FROM generate_series(1, %s) n",
        [ACCOUNTS],
    )
    cursor.execute(
        "INSERT INTO keyvault_environment (name, is_production, position)"
        " SELECT 'bench ' || n, n = 1, n FROM generate_series(1, %s) n",
        [ENVIRONMENTS],
    )
    cursor.execute(
        "INSERT INTO keyvault_application (name, team, contact, created_at)"
        " SELECT 'bench app ' || n, 'team ' || n %% 40, '', now() FROM generate_series(1, %s) n",
        [_applications(keys)],
    )


def _applications(keys: int) -> int:
    return min(MOST_APPLICATIONS, max(keys // 20, 10))


def _column(cursor: Any, table: str) -> list[int]:
    cursor.execute(f"SELECT id FROM {table} WHERE name LIKE 'bench%%' OR name LIKE 'Bench%%'")
    return [row[0] for row in cursor.fetchall()]


def _keys(cursor: Any, keys: int, now: datetime) -> int:
    """Copy keys, their versions and policies; return the id of the first key."""
    places = [
        _column(cursor, f"keyvault_{name}") for name in ("account", "environment", "application")
    ]
    cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM keyvault_apikey")
    first = int(cursor.fetchone()[0])
    chance = random.Random(7)
    ages = [int(chance.paretovariate(1.2) * 10) % 700 for _ in range(keys)]
    _copy(cursor, "keyvault_apikey", _key_rows(first, ages, places, now, chance))
    _copy(cursor, "keyvault_keyversion", _version_rows(first, ages, now, chance))
    _copy(cursor, "rotation_rotationpolicy", _policy_rows(first, ages, now))
    for table in ("keyvault_apikey", "keyvault_keyversion", "rotation_rotationpolicy"):
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
        )
    return first


def _key_rows(
    first: int, ages: list[int], places: list[list[int]], now: datetime, chance: random.Random
) -> Iterator[dict[str, Any]]:
    for number, age in enumerate(ages):
        word = f"{chance.choice(_WORDS)}-{chance.choice(_WORDS)}-{number}"
        yield {
            "id": first + number,
            "current_id": first + number,
            "account_id": places[0][number % len(places[0])],
            "environment_id": places[1][number % len(places[1])],
            "application_id": places[2][int(chance.random() ** 3 * len(places[2]))],
            "name": word,
            "purpose": "",
            "created_at": now - timedelta(days=age + 1),
            "rotated_at": now - timedelta(days=age),
        }


def _version_rows(
    first: int, ages: list[int], now: datetime, chance: random.Random
) -> Iterator[dict[str, Any]]:
    for number, age in enumerate(ages):
        at = now - timedelta(days=age)
        yield {
            "id": first + number,
            "key_id": first + number,
            "number": 1,
            "state": "current",
            "path": f"00000000-0000-4000-8000-{number:012x}",
            "fingerprint": f"{number:064x}",
            "tail": f"{number % 36**4:04x}"[-4:],
            "length": 40,
            "vendor_id": "",
            "label": "",
            "source": "bench",
            "check_text": "",
            "check_answer": chance.choices(("valid", "refused", ""), (96, 1, 3))[0],
            "created_at": at,
            "published_at": at,
            "checked_at": now,
            "expires_at": now + timedelta(days=number % 900) if number % 3 == 0 else None,
        }


def _policy_rows(first: int, ages: list[int], now: datetime) -> Iterator[dict[str, Any]]:
    for number, age in enumerate(ages):
        yield {
            "id": first + number,
            "key_id": first + number,
            "own": "[]",
            "enabled": True,
            "every_days": 90,
            "rule": "",
            "at_time": "03:00",
            "time_zone": "UTC",
            "overlap_seconds": 3600,
            "quiet_seconds": 3600,
            "window": "",
            "missed": "next",
            "jitter_minutes": 0,
            "standbys": 0,
            "next_run_at": now + timedelta(days=90 - age),
            "changed_at": now,
        }


def add_audit(cursor: Any, first: int, keys: int, rows: int, now: datetime) -> None:
    """Copy rows that go on from the head of the chain, and move the head to the last of them."""
    cursor.execute("SELECT seq, hash FROM audit_chainhead WHERE id = 1")
    found = cursor.fetchone()
    seq, prev = (found[0], bytes(found[1])) if found else (0, bytes(32))
    events = _events(seq, prev, rows, first, keys, now)
    last: dict[str, Any] = {}

    def passing() -> Iterator[dict[str, Any]]:
        for event in events:
            last.update(event)
            yield event

    _copy(cursor, "audit_auditevent", passing())
    cursor.execute(
        "INSERT INTO audit_chainhead (id, seq, hash) VALUES (1, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        [last["seq"], last["hash"]],
    )


def _events(
    seq: int, prev: bytes, rows: int, first: int, keys: int, now: datetime
) -> Iterator[dict[str, Any]]:
    chance = random.Random(11)
    acts = chance.choices([act for act, _ in _ACTS], [weight for _, weight in _ACTS], k=rows)
    begin = now - timedelta(days=365)
    for place, action in enumerate(acts, start=1):
        number = seq + place
        at = begin + timedelta(days=365) * (place / rows)
        key = first + int(chance.random() ** 2 * keys)
        event = {
            "action": action,
            "outcome": "ok",
            "actor_kind": "token",
            "actor_id": str(key % 500),
            "actor_label": f"bench token {key % 500}",
            "object_kind": "apikey",
            "object_id": str(key),
            "object_label": f"bench key {key}",
            "key_id": key,
            "request_id": "",
        }
        payload = json.dumps(
            {
                **event,
                "seq": number,
                "at": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
                "reason": "",
                "detail": {},
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        digest = row_hash(number, prev, payload)
        yield {**event, "seq": number, "at": at, "payload": payload, "prev": prev, "hash": digest}
        prev = digest


def _copy(cursor: Any, table: str, rows: Iterator[dict[str, Any]]) -> None:
    top = next(rows)
    columns = list(top)
    named = ", ".join(f'"{name}"' for name in columns)
    with cursor.copy(f"COPY {table} ({named}) FROM STDIN") as copy:
        copy.write_row(list(top.values()))
        for row in rows:
            copy.write_row([row[name] for name in columns])
