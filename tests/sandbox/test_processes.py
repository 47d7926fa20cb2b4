"""Processes with a pid file: they end when asked, with their launcher, and are never mistaken."""

import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sandbox.services.postgres import Postgres
from sandbox.services.process import Process, StartFailed, claim
from sandbox.services.valkey import Valkey
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells children")
def test_servers_die_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from sandbox.services.postgres import Postgres
        from sandbox.services.valkey import Valkey
        folder = Path(sys.argv[1])
        Postgres(folder / "p", durable=False).start()
        Valkey(folder / "v").start()
        os.kill(os.getpid(), 9)
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    postgres, valkey = Postgres(tmp_path / "p"), Valkey(tmp_path / "v")
    assert postgres.process.pid_file.exists()
    until(lambda: not postgres.running() and not valkey.running(), what="the servers' end")


def test_a_process_that_does_not_listen_is_killed_with_its_children(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        if child:
            print(child, "up", flush=True)
        time.sleep(60)
        """)
    process = Process(tmp_path, "stubborn", stop_seconds=0.3)
    process.spawn([sys.executable, "-c", script])
    process.wait_until(lambda: b"up" in process.new_output(), seconds=10)
    child = Path(f"/proc/{process.new_output().split()[0].decode()}")
    process.stop()
    assert not process.running()
    until(lambda: not child.exists() or "Z" in (child / "stat").read_text(), what="the child's end")


def test_a_stranger_with_the_remembered_pid_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        process = Process(tmp_path, "server")
        claim(process.pid_file, stranger.pid)
        assert process.running()
        process.pid_file.write_text(f"{stranger.pid} 1\n")
        assert not process.running()
        process.stop()
        assert stranger.poll() is None


def test_a_process_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process = Process(tmp_path, "short")
    process.spawn([sys.executable, "-c", "raise SystemExit('no such luck')"])
    with pytest.raises(StartFailed, match=r"short ended while it was starting: no such luck"):
        process.wait_until(lambda: False, seconds=10)


def test_children_get_none_of_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "canary")
    process = Process(tmp_path, "curious")
    process.spawn([sys.executable, "-c", "import os; print(dict(os.environ), 'end')"])
    until(lambda: b"end" in process.new_output(), what="its output")
    process.stop()
    assert b"canary" not in process.new_output()
    assert stat.S_IMODE(process.log_file.stat().st_mode) == 0o600
