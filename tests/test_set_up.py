"""What a clean machine does: exactly the locks are installed, today and next year, by anyone.

The sandbox's own servers are not needed here; the packages come from a folder that holds what the
locks name, so that an index of tomorrow can be offered and the network be taken away.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.waiting import until

pytestmark = pytest.mark.pure

ROOT = Path(__file__).resolve().parent.parent
INSTALLER = Path(sys.prefix) / "installer"
RUN_LOCKS = ("requirements.txt", "requirements-sandbox.txt")
_SKIP = shutil.ignore_patterns(".git", ".run", ".venv", "*_cache", "__pycache__", ".hypothesis")
_NOBODY = 65534
# One that stands in the .in file with an extra, one that only others ask for.
_NEWER = ("django_allauth", "psycopg", "kombu", "vine", "billiard")


def locked(files: Sequence[str]) -> dict[str, str]:
    """Return name and version of what the locks name for this Python and system."""
    found: dict[str, str] = {}
    for file in files:
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            if not re.match(r"[a-z0-9]", line):
                continue
            one = Requirement(line.rstrip("\\ "))
            if one.marker is None or one.marker.evaluate():
                found[canonicalize_name(one.name)] = next(iter(one.specifier)).version
    return found


def newer(wheel: Path) -> Path:
    """Write the same wheel beside it as version 99, as its makers may publish it next year."""
    name, version, rest = wheel.name.split("-", 2)
    made = wheel.with_name(f"{name}-99.0-{rest}")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".dist-info/METADATA"):
                data = re.sub(rb"(?m)^Version: .*$", b"Version: 99.0", data, count=1)
            folder, _, inner = entry.filename.partition("/")
            if folder.endswith(".dist-info"):
                folder = folder.replace(f"-{version}.dist-info", "-99.0.dist-info")
            new.writestr(f"{folder}/{inner}" if inner else folder, data)
    return made


@pytest.fixture(scope="module")
def tomorrow() -> Iterator[Path]:
    """Return a folder that holds every locked file, and newer versions of some."""
    folder = Path(tempfile.mkdtemp(prefix="keyvault-index-"))
    locks = [f"--requirement={ROOT / name}" for name in (*RUN_LOCKS, "requirements-installer.txt")]
    command = [str(INSTALLER / "bin/python"), "-m", "pip", "download", "--quiet", "--no-deps"]
    try:
        for lock in locks:
            subprocess.run(
                [*command, "--only-binary=:all:", "--require-hashes", "--dest", str(folder), lock],
                check=True,
                timeout=300,
            )
        assert len([newer(next(folder.glob(f"{name}-*.whl"))) for name in _NEWER]) == 5
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def checkout() -> Iterator[Path]:
    """Return a copy of this checkout as a clone gives it, in a folder that anyone can reach."""
    outer = Path(tempfile.mkdtemp(prefix="keyvault-clone-"))
    outer.chmod(0o755)
    shutil.copytree(ROOT, outer / "keyvault", ignore=_SKIP)
    yield outer / "keyvault"
    shutil.rmtree(outer)


def settings(home: Path, index: Path | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a new account whose packages come from `index` alone."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **more}
    if index:
        environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    return environment


def bootstrap(
    checkout: Path, environment: dict[str, str], what: str = "run", before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Prepare the checkout, as `make run` begins."""
    return subprocess.run(
        [*before, "scripts/bootstrap", what],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def small(checkout: Path, lock: str) -> None:
    """Let the checkout need `lock` alone, with an installer that is there already."""
    (checkout / "requirements.txt").write_text(lock)
    (checkout / "requirements-sandbox.txt").write_text("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    there = checkout / ".venv/installer"
    shutil.copytree(INSTALLER, there, symlinks=True)
    shutil.copyfile(checkout / "requirements-installer.txt", there / "installed")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence with which it gave up, without what went before."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Installing the")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def installed(checkout: Path) -> dict[str, str]:
    """Return name and version of all that stands in the checkout's environment."""
    text = subprocess.check_output(
        [INSTALLER / "bin/uv", "pip", "freeze", "--python", checkout / ".venv/bin/python"],
        text=True,
        stderr=subprocess.DEVNULL,
    )
    pairs = (line.split("==") for line in text.splitlines())
    return {str(canonicalize_name(name)): version for name, version in pairs}


def test_an_index_of_tomorrow_changes_nothing(checkout: Path, tomorrow: Path) -> None:
    """The locked files are taken though newer ones are offered; a second start installs nothing."""
    environment = settings(checkout.parent, tomorrow)
    done = bootstrap(checkout, environment)
    assert done.returncode == 0, done.stderr
    assert installed(checkout) == locked(RUN_LOCKS)
    stamp = (checkout / ".venv/installed").stat().st_mtime_ns

    again = bootstrap(checkout, settings(checkout.parent, Path("/nowhere")))
    assert (again.returncode, again.stderr) == (0, "")
    assert (checkout / ".venv/installed").stat().st_mtime_ns == stamp

    # What the lock lacks is named, and nothing counts as installed until it is there.
    lock = checkout / "requirements.txt"
    text = lock.read_text()
    lock.write_text(re.sub(r"(?m)^vine==.*\n(?: .*\n)+", "", text))
    lacking = bootstrap(checkout, environment)
    assert lacking.returncode == 1
    assert "vine" in lacking.stderr
    assert "The locks lack what the lines above name" in lacking.stderr
    assert not (checkout / ".venv/installed").exists()

    lock.write_text(text)
    assert bootstrap(checkout, environment).returncode == 0
    assert installed(checkout) == locked(RUN_LOCKS)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_locks_hold_ready_made_files_for_every_python(version: str, tmp_path: Path) -> None:
    command = [str(INSTALLER / "bin/uv"), "pip", "install", "--dry-run", "--no-build", "--no-deps"]
    command += ["--require-hashes", "--python-version", version, "--target", str(tmp_path)]
    done = subprocess.run(
        [*command, "-r", str(ROOT / "requirements-dev.txt")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    old = checkout.parent / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    text = said(bootstrap(checkout, settings(checkout.parent, PYTHON=str(old))))
    assert text.startswith(f"PYTHON names {old}, which is no Python of 3.11 or newer")


def test_a_machine_without_any_python_is_told_what_to_install(checkout: Path) -> None:
    bare = checkout.parent / "bin"
    bare.mkdir()
    for name in ("bash", "dirname", "cmp", "cat", "grep", "mktemp", "rm", "env"):
        (bare / name).symlink_to(str(shutil.which(name)))
    text = said(bootstrap(checkout, {**settings(checkout.parent), "PATH": str(bare)}))
    assert text.startswith("Python 3.11 or newer is missing: install it")


def test_without_network_it_says_so(checkout: Path) -> None:
    away = settings(checkout.parent, PIP_INDEX_URL="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    wanted = "The package index cannot be reached or lacks a locked package: check the network"
    assert said(bootstrap(checkout, away)).startswith(wanted)
    assert not (checkout / ".venv/installer/bin/uv").exists()

    shutil.rmtree(checkout / ".venv")
    small(checkout, "nothing-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    assert said(bootstrap(checkout, away)).startswith(wanted)


def test_what_would_have_to_be_compiled_is_refused(checkout: Path, tmp_path: Path) -> None:
    small(checkout, "nothing-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    (tmp_path / "nothing_at_all-1.0-cp27-cp27m-win32.whl").write_bytes(b"")
    done = bootstrap(checkout, settings(checkout.parent, tmp_path))
    assert done.returncode == 1
    assert "is not offered ready-made for this Python and system" in done.stderr
    (tmp_path / "nothing_at_all-1.0-cp27-cp27m-win32.whl").unlink()
    (tmp_path / "nothing_at_all-1.0.tar.gz").write_bytes(b"")
    done = bootstrap(checkout, settings(checkout.parent, tmp_path))
    assert "is not offered ready-made for this Python and system" in done.stderr


def test_a_file_with_another_hash_is_not_installed(checkout: Path, tmp_path: Path) -> None:
    small(checkout, "nothing-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with zipfile.ZipFile(tmp_path / "nothing_at_all-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nothing_at_all.py", "")
        inner = "nothing_at_all-1.0.dist-info"
        wheel.writestr(
            f"{inner}/METADATA", "Metadata-Version: 2.1\nName: nothing-at-all\nVersion: 1.0\n"
        )
        wheel.writestr(f"{inner}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{inner}/RECORD", "")
    text = said(bootstrap(checkout, settings(checkout.parent, tmp_path)))
    assert text.startswith(
        "A package from your index is not the one that the lock knows by its hash"
    )
    assert not list((checkout / ".venv/lib").glob("*/site-packages/nothing_at_all.py"))


@pytest.mark.parametrize("megabytes", [4, 120])
def test_a_full_disk_is_named(megabytes: int, checkout: Path, tomorrow: Path) -> None:
    """Be it full for the installer already, or for what that installs."""
    mount = f'mount -t tmpfs -o size={megabytes}m none "$PWD/.venv" && exec "$@"'
    (checkout / ".venv").mkdir()
    before = ("unshare", "-rm", "sh", "-c", mount, "sh")
    text = said(bootstrap(checkout, settings(checkout.parent, tomorrow), before=before))
    assert text.startswith("The disk is full: the packages need about a gigabyte")


def test_a_checkout_of_somebody_else_is_not_written_to(checkout: Path) -> None:
    before = as_nobody()
    if not before:
        checkout.chmod(0o555)
    text = said(bootstrap(checkout, settings(checkout.parent), before=before))
    checkout.chmod(0o755)
    assert text == (
        "This checkout cannot be written to by you: clone it to a folder of your own and try again."
    )
    assert not (checkout / ".venv").exists()


def as_nobody() -> tuple[str, ...]:
    """Return what makes a command an ordinary user's; nothing where it is one already."""
    if os.getuid() != 0:
        return ()
    return ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")


def test_an_ordinary_user_runs_it_from_an_own_clone(checkout: Path, tomorrow: Path) -> None:
    """`make run` in an own account: from nothing to the first page, and down again by Ctrl-C."""
    before = as_nobody()
    if before:
        for path in (checkout.parent, checkout, *checkout.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY)
    output = checkout.parent / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*before, "make", "run"],
            cwd=checkout,
            env=settings(checkout.parent, tomorrow),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(
            lambda: process.poll() is not None or "Sign in " in output.read_text(),
            seconds=180,
            what="the installation",
        )
        found = re.search(r"Console +(\S+)", output.read_text())
        assert found, output.read_text()
        assert requests.get(f"{found[1]}/health/live", timeout=10).status_code == 200
        assert checkout.joinpath(".run").stat().st_uid == (os.getuid() or _NOBODY)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)  # make itself ends by the signal too
        assert "Stopped; the data stay in" in output.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
