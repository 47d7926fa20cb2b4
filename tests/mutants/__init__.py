"""Prove the guards: take each one out of a copy of the code and see its tests fail.

`make mutants` runs all, `python -m tests.mutants NAME …` some. A guard whose removal no test
notices is named, and the exit status is 1.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.access import ACCESS
from tests.mutants.custody import CUSTODY
from tests.mutants.directories import DIRECTORIES
from tests.mutants.endings import ENDINGS
from tests.mutants.engine import ENGINE
from tests.mutants.evidence import EVIDENCE
from tests.mutants.faults import FAULTS
from tests.mutants.holders import HOLDERS
from tests.mutants.imports import IMPORTS
from tests.mutants.irreversible import IRREVERSIBLE
from tests.mutants.planning import PLANNING
from tests.mutants.setting_up import SETTING_UP

ROOT = Path(__file__).resolve().parent.parent.parent
_SKIP = shutil.ignore_patterns(".git", ".run", ".venv", "*_cache", "__pycache__", ".hypothesis")


@dataclass(frozen=True)
class Mutant:
    """A guard: where it stands, what stands there instead, and the tests that must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: str


_SUBJECTS = (
    ENGINE,
    EVIDENCE,
    HOLDERS,
    IRREVERSIBLE,
    CUSTODY,
    ENDINGS,
    DIRECTORIES,
    IMPORTS,
    FAULTS,
    ACCESS,
    PLANNING,
    SETTING_UP,
)
MUTANTS = tuple(Mutant(*one) for subject in _SUBJECTS for one in subject)


def main(names: list[str]) -> int:
    """Run the mutants (all, or those named) and say which survive."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    survivors = [mutant.name for mutant in chosen if _survives(mutant)]
    for name in survivors:
        print(f"survived: {name}")
    print(f"mutants: {len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors or not chosen else 0


def _survives(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory(prefix="keyvault-mutant-") as folder:
        copy = Path(folder) / "code"
        shutil.copytree(ROOT, copy, ignore=_SKIP)
        path = copy / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            print(f"{mutant.name}: the guard is not where it was in {mutant.file}")
            return True
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {mutant.tests}"
        done = subprocess.run(command, cwd=copy, shell=True, capture_output=True, check=False)
        print(f"{mutant.name}: {'killed' if done.returncode == 1 else 'SURVIVED'}", flush=True)
        return done.returncode != 1
