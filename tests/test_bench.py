"""What the benchmarks promise of themselves: loads that no time limit ends, and a last line."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from tests.bench import data
from tests.bench.figures import summary

ROOT = Path(__file__).resolve().parent.parent


def shown(name: str) -> str:
    """Return a setting of the owner's session."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def test_a_bulk_load_may_take_as_long_as_a_slow_disk_needs(database: None) -> None:
    """A COPY of 600,000 rows met the role's limit; the product's own statements keep theirs."""
    before = shown("statement_timeout")
    assert before != "0"
    with data.bulk() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    assert shown("statement_timeout") == before
    with pytest.raises(ValueError, match="broke"), data.bulk():
        raise ValueError("broke")
    assert shown("statement_timeout") == before


@pytest.mark.pure
def test_a_part_that_fails_is_counted_and_the_next_one_still_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "no-such-part", "nor-this-one"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert [line.partition(" failed")[0] for line in lines] == ["no-such-part", "nor-this-one"]
    assert last == "bench: 0 ok, 0 short, 2 failed"
    assert (
        summary("bench", {"ok": 14, "short": 3, "failed": 1}) == "bench: 14 ok, 3 short, 1 failed"
    )
