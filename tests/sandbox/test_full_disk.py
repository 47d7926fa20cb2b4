"""F18: a disk without room costs one sentence, not the launcher and all that it watches over."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.services.process import StartFailed, in_words
from tests.guards import ROOT
from tests.waiting import until

# No file may grow: the system refuses each write as it does on a full disk.
_NO_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
_WATCH = (
    "import sys, pathlib; from sandbox.commands import run; from sandbox.installation import Installation; "
    "folder = pathlib.Path(sys.argv[1]); folder.mkdir(exist_ok=True); run._watch(Installation(folder))"
)


@contextlib.contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def test_the_launcher_says_in_one_sentence_that_there_is_no_room(tmp_path: Path) -> None:
    command = (
        _NO_ROOM + "import sys; from sandbox.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, "--folder", str(tmp_path / "run"), "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_launcher_watches_on_and_says_it_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _NO_ROOM + _WATCH, str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with ended(process):
        assert process.stdout
        said = process.stdout.readline()
        assert "Trying again" in said
        assert "Traceback" not in said
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 5, what="two more rounds")
        assert process.poll() is None


def test_a_process_whose_pid_cannot_be_kept_is_not_left_behind(tmp_path: Path) -> None:
    from sandbox.services.process import Process

    (tmp_path / ".here.pid.new").mkdir()
    process = Process(tmp_path, "here")
    with pytest.raises(StartFailed, match="here cannot be started"):
        process.spawn([sys.executable, "-c", "input()"])
    assert not process.running()


def test_a_full_disk_is_told_with_what_to_do() -> None:
    import errno

    said = in_words(OSError(errno.ENOSPC, "No space left on device", "/x"))
    assert said == (
        "No space left on device (/x). Free some room; nothing that was stored is lost."
    )
