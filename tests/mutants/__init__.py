"""Prove the guards: take each one out of a copy of the code and see its tests fail.

`make mutants` runs all, `python -m tests.mutants NAME …` some. A guard whose removal no test
notices is named, and the exit status is 1.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.access import ACCESS
from tests.mutants.custody import CUSTODY
from tests.mutants.directories import DIRECTORIES
from tests.mutants.endings import ENDINGS
from tests.mutants.engine import ENGINE
from tests.mutants.evidence import EVIDENCE
from tests.mutants.faults import FAULTS
from tests.mutants.guard import ROOT, Guard, marked, without
from tests.mutants.holders import HOLDERS
from tests.mutants.imports import IMPORTS
from tests.mutants.irreversible import IRREVERSIBLE
from tests.mutants.planning import PLANNING
from tests.mutants.setting_up import SETTING_UP

_SKIP = shutil.ignore_patterns(".git", ".run", ".venv", "*_cache", "__pycache__", ".hypothesis")


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
MUTANTS: tuple[Guard, ...] = tuple(guard for subject in _SUBJECTS for guard in subject)


def main(names: list[str]) -> int:
    """Run the mutants (all, or those named) and say which survive."""
    chosen = [guard for guard in MUTANTS if not names or guard[0] in names]
    survivors = [guard[0] for guard in chosen if _survives(guard)]
    for name in survivors:
        print(f"survived: {name}")
    print(f"mutants: {len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors or not chosen else 0


def _survives(guard: Guard) -> bool:
    name, tests = guard[0], guard[-1]
    with tempfile.TemporaryDirectory(prefix="keyvault-mutant-") as folder:
        copy = Path(folder) / "code"
        shutil.copytree(ROOT, copy, ignore=_SKIP)
        (where,) = marked()[name]
        path = copy / where
        path.write_text(without(guard, path.read_text(encoding="utf-8")), encoding="utf-8")
        command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {tests}"
        done = subprocess.run(command, cwd=copy, shell=True, capture_output=True, check=False)
        print(f"{name}: {'killed' if done.returncode == 1 else 'SURVIVED'}", flush=True)
        return done.returncode != 1
