"""`make bench-data KEYS=… AUDIT=…`: build a large installation and measure its pages beside a small one.

Both are stacks of their own in temporary folders. Prints one line a page: the median of server time
in ms at the large one, its ratio to the small one, and ok up to 150 ms and 1.5 times; at the end how
many were ok, short or failed.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.bench.figures import summary

KEYS = int(os.environ.get("KEYS", "50000"))
AUDIT = int(os.environ.get("AUDIT", "200000"))
SMALL, ROUNDS = 1000, 9
MOST_MS, MOST_RATIO = 150.0, 1.5


def main() -> int:
    """Measure the small installation, then the large one, in processes of the same kind."""
    if len(sys.argv) > 1:
        return _measure(int(sys.argv[1]), int(sys.argv[2]))
    small, large = (_run(keys, audit) for keys, audit in ((SMALL, SMALL * 10), (KEYS, AUDIT)))
    words: Counter[str] = Counter()
    for path in small | large:
        name = "P5" if path.startswith("/tick") else "P7"
        value, beside = large.get(path), small.get(path)
        if value is None or beside is None:
            words["failed"] += 1
            sys.stdout.write(f"{name} {path} failed\n")
            continue
        word = "ok" if value <= MOST_MS and value / beside <= MOST_RATIO else "short"
        words[word] += 1
        sys.stdout.write(f"{name} {path} {value:.0f} ms {value / beside:.2f} {word}\n")
    sys.stdout.write(summary("bench-data", words) + "\n")
    return int(words["failed"] > 0 or not words)


def _run(keys: int, audit: int) -> dict[str, float | None]:
    """Return the milliseconds of each page; None for one that failed."""
    command = [sys.executable, "-m", "tests.bench.pages", str(keys), str(audit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("/")]
    return {path: None if value == "failed" else float(value) for path, value in rows}


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
        taken = _median(client, path)
        said = "failed" if taken is None else f"{taken:.1f}"
        sys.stdout.write(f"{_named(path, middle)} {said}\n")
        sys.stdout.flush()
    for name, taken in _ticks().items():
        sys.stdout.write(f"/tick/{name} {taken:.1f}\n")


def _ticks() -> dict[str, float]:
    """P5: the clock's own task with nothing due, and finding what to start when 500 keys are due."""
    from rotation import tasks
    from rotation.engine import scheduler
    from tests.bench import data

    with data.bulk() as cursor:
        cursor.execute(
            "UPDATE rotation_rotationpolicy SET next_run_at = now() + interval '1 day' * (1 + id % 80)"
        )
        cursor.execute("VACUUM ANALYZE rotation_rotationpolicy")
        nothing = _middle(tasks.tick)
        cursor.execute(
            "UPDATE rotation_rotationpolicy SET next_run_at = now() - interval '1 minute' WHERE id IN"
            " (SELECT id FROM rotation_rotationpolicy ORDER BY id DESC LIMIT 500)"
        )
    return {"nothing-due": nothing, "find-500-due": _middle(lambda: scheduler._next_due(500))}


def _named(path: str, middle: int) -> str:
    """Give the pages of one key the same name in both runs."""
    if path.startswith("/keys/?q=") and "audience" not in path:
        return "/keys/?q=tail"
    return path.replace(str(middle), "N") if str(middle) in path else path


def _median(client: Any, path: str) -> float | None:
    """Return the median of the milliseconds that a page takes; None when it is not given."""
    client.raise_request_exception = False
    status = client.get(path).status_code
    if status != 200:
        sys.stderr.write(f"{path} was answered {status}\n")
        return None
    return _middle(lambda: client.get(path))


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
