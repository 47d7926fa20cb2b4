"""Ask an address as fast as `wrk` can at eight connections; say how often it answered and at what cost."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import psutil

CONNECTIONS = 8
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_PARTS = {
    "celery": "worker",
    "gunicorn": "web",
    "postgres": "postgres",
    "bao server": "store",
    "sandbox.vendor": "vendor",
    "valkey": "broker",
}
_COUNT = re.compile(r"(\d+) requests in")


@dataclass(frozen=True)
class Load:
    """Answers a second, and the CPU milliseconds that the servers spent on each."""

    rate: float
    cpu_ms: float


def ask(url: str, headers: dict[str, str], seconds: int) -> Load:
    """Load the address for so long; ends the run on any answer that is neither 2xx nor 3xx."""
    said = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    before = _spent()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *said, url],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    cpu = _spent() - before
    rate, count = _RATE.search(done.stdout), _COUNT.search(done.stdout)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout or not rate or not count:
        sys.exit(f"{url.partition('?')[0]} was refused under load:\n{done.stdout}")
    return Load(float(rate[1]), cpu * 1000 / int(count[1]))


def require_wrk() -> None:
    """End the run with what to do when the load generator is missing."""
    if shutil.which("wrk") is None:
        sys.exit("`wrk` is missing (Debian, as root: apt-get install wrk). Nothing was measured.")


def _spent() -> float:
    """Return the CPU seconds of every server that this run started, the load generator left out."""
    return sum(spent_by_part().values())


def spent_by_part() -> Counter[str]:
    """Return the CPU seconds of every server that this run started, by what it is."""
    spent: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            command, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        part = next((name for word, name in _PARTS.items() if word in command), "other")
        spent[part] += times.user + times.system
    return spent
