"""Run the whole matrix and write it down: `make faults`.

The table goes to .run/faults.txt (FAULTS_REPORT says where else), the summary to the last line.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.conftest import ROOT
from tests.faults.table import EFFECTS, FAULTS, TABLE, WHY, cells

_CASE = re.compile(r"\[(S\d+-F\d+)\]$")


def main() -> int:
    """Run all cells on two processes, print and keep the table; returns the exit status."""
    report = Path(os.environ.get("FAULTS_REPORT", ROOT / ".run" / "faults.txt"))
    report.parent.mkdir(mode=0o700, exist_ok=True)
    results = report.with_suffix(".xml")
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(
        [*command, "tests/faults", f"--junitxml={results}"],
        cwd=ROOT,
        env={**os.environ, "FAULTS": "all"},
        check=False,
    )
    outcome = _outcomes(results)
    text = _table(outcome)
    failed = sum(1 for word, _ in outcome.values() if word == "failed")
    missing = len(cells()) - len(outcome)
    word = "ok" if done.returncode == 0 and not failed and not missing else "FAILED"
    summary = (
        f"faults {word}: {len(cells())} cells, {len(outcome) - failed} passed, {failed} failed, "
        f"{missing} not run in {time.monotonic() - began:.0f} s"
    )
    report.write_text(f"{text}\n{summary}\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n{summary}\n")
    return 0 if word == "ok" else 1


def _outcomes(results: Path) -> dict[str, tuple[str, float]]:
    """Return what came of each cell, and how many seconds it took."""
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        match = _CASE.search(case.get("name", ""))
        if match:
            bad = any(part.tag in ("failure", "error") for part in case)
            found[match[1]] = ("failed" if bad else "passed", float(case.get("time", "0")))
    return found


def _table(outcome: dict[str, tuple[str, float]]) -> str:
    """Return the matrix with seconds for each cell that passed, and its letter in capitals."""
    letters = {str(cell): cell.letter for cell in cells()}
    lines = ["".join(f"{name:>7}" for name in ("", *FAULTS))]
    for effect in EFFECTS:
        row = [f"{effect:>7}"]
        for fault in FAULTS:
            name = f"{effect}-{fault}"
            word, seconds = outcome.get(name, ("", 0.0))
            shown = {"passed": f"{letters.get(name)} {seconds:.0f}s", "failed": "FAIL"}.get(
                word, "-"
            )
            row.append(f"{shown:>7}")
        lines.append("".join(row))
    notes = [f"{name}: {text}" for name, text in {**FAULTS, **WHY}.items()]
    return "\n".join([TABLE.strip(), "", *lines, "", *notes])


if __name__ == "__main__":
    sys.exit(main())
