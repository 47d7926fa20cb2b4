"""`make bench-data KEYS=… AUDIT=…`: build a large installation and measure its pages beside a small one.

Both are stacks of their own in temporary folders. Prints one line a page: the median of server time
in ms at the large one, its ratio to the small one, and ok up to 150 ms and 1.5 times.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

KEYS = int(os.environ.get("KEYS", "50000"))
AUDIT = int(os.environ.get("AUDIT", "200000"))
SMALL, ROUNDS = 1000, 9
MOST_MS, MOST_RATIO = 150.0, 1.5


def main() -> int:
    """Measure the small installation, then the large one, in processes of the same kind."""
    import subprocess

    if len(sys.argv) > 1:
        return _measure(int(sys.argv[1]), int(sys.argv[2]))
    small, large = (
        _run(subprocess, keys, audit) for keys, audit in ((SMALL, SMALL * 10), (KEYS, AUDIT))
    )
    for path, value in large.items():
        ratio = value / small[path]
        word = "ok" if value <= MOST_MS and ratio <= MOST_RATIO else "short"
        name = "P5" if path.startswith("/tick") else "P7"
        sys.stdout.write(f"{name} {path} {value:.0f} ms {ratio:.2f} {word}\n")
    return 0


def _run(subprocess: Any, keys: int, audit: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.pages", str(keys), str(audit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("/")]
    return {path: float(value) for path, value in rows}


def _measure(keys: int, audit: int) -> int:
    from tests import plugin

    os.environ["DJANGO_SETTINGS_MODULE"] = "keyvault.settings"
    plugin.STACK = plugin._start()
    try:
        os.environ.update(plugin.STACK.environment("tests"))
        import django

        django.setup()
        _pages(keys, audit)
    finally:
        plugin.pytest_unconfigure()
    return 0


def _pages(keys: int, audit: int) -> None:
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment
    from django.utils import timezone

    from keyvault.models import ApiKey, Role
    from tests.api_client import sign_in
    from tests.bench import data
    from tests.factories import grant, make_member

    setup_test_environment()
    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", database="owner", verbosity=0)
    began = time.monotonic()
    data.build(keys, audit, timezone.now())
    sys.stderr.write(f"{keys} keys, {audit} audit rows in {time.monotonic() - began:.0f} s\n")
    client = sign_in(Client(), grant(make_member("bench@example.com"), Role.OWNER))
    middle = ApiKey.objects.order_by("pk")[keys // 2].pk
    tail = ApiKey.objects.select_related("current").get(pk=middle).current
    paths = [
        "/",
        "/keys/",
        "/keys/?order=name",
        "/keys/?order=due",
        "/keys/?order=expiry",
        "/keys/?order=age",
        "/keys/?state=overdue",
        "/keys/?state=expiring",
        "/keys/?q=audience-search",
        f"/keys/?q={tail.tail if tail else ''}",
        f"/keys/{middle}/",
        "/keys/by-application/",
        "/calendar/",
        "/overview/",
        "/policies/",
        "/tokens/",
        "/audit/",
        "/audit/?action=secret.revealed",
        "/audit/?actor=token+77",
        f"/audit/?key={middle}",
        "/audit/?text=bench+key",
        "/api/v1/keys/",
    ]
    for path in paths:
        sys.stdout.write(f"{_named(path, middle)} {_median(client, path):.1f}\n")
        sys.stdout.flush()
    for name, taken in _ticks().items():
        sys.stdout.write(f"/tick/{name} {taken:.1f}\n")


def _ticks() -> dict[str, float]:
    """P5: the clock's own task with nothing due, and finding what to start when 500 keys are due."""
    from django.db import connections

    from rotation import policies, tasks

    with connections["owner"].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            "UPDATE rotation_rotationpolicy SET next_run_at = now() + interval '1 day' * (1 + id % 80)"
        )
        cursor.execute("VACUUM ANALYZE rotation_rotationpolicy")
        nothing = _middle(tasks.tick)
        cursor.execute(
            "UPDATE rotation_rotationpolicy SET next_run_at = now() - interval '1 minute' WHERE id IN"
            " (SELECT id FROM rotation_rotationpolicy ORDER BY id DESC LIMIT 500)"
        )
    return {"nothing-due": nothing, "find-500-due": _middle(lambda: policies._next_due(500))}


def _named(path: str, middle: int) -> str:
    """Give the pages of one key the same name in both runs."""
    if path.startswith("/keys/?q=") and "audience" not in path:
        return "/keys/?q=tail"
    return path.replace(str(middle), "N") if str(middle) in path else path


def _median(client: Any, path: str) -> float:
    def ask() -> None:
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)

    return _middle(ask)


def _middle(act: Callable[[], object]) -> float:
    """Return the median of the milliseconds that it takes."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)[ROUNDS // 2]


if __name__ == "__main__":
    sys.exit(main())
