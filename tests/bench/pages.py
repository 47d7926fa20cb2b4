"""`make bench-data KEYS=… AUDIT=…`: build a large installation and measure its pages beside a small one.

Both are stacks of their own in temporary folders. Prints one line a page: the median of server time
in ms at the large one, its ratio to the small one, and ok up to 150 ms and 1.5 times.
"""

import os
import sys
import time
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
        sys.stdout.write(f"P7 {path} {value:.0f} ms {ratio:.2f} {word}\n")
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


def _named(path: str, middle: int) -> str:
    """Give the pages of one key the same name in both runs."""
    if path.startswith("/keys/?q=") and "audience" not in path:
        return "/keys/?q=tail"
    return path.replace(str(middle), "N") if str(middle) in path else path


def _median(client: Any, path: str) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(path)
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (path, answer.status_code)
    return sorted(taken)[ROUNDS // 2]


if __name__ == "__main__":
    sys.exit(main())
