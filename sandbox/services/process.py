"""One child process with a pid file and a log file: start, stop, kill, and know whether it runs."""

import contextlib
import ctypes
import errno
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
_LONGEST_FOLDER = 80
_PLAIN_PATH = re.compile(r"[\w./+-]+", re.ASCII)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT")

_children: list[subprocess.Popen[bytes]] = []


_PORTS = range(15000, 32000)
_PORT_SECONDS = 3.0


class MissingPart(Exception):
    """Something the sandbox needs is not there; the text says what, and how to mend it."""


class StartFailed(Exception):
    """A process ended or stayed silent while it was starting; the text names its log."""


class Process:
    """A child process that is found again, by its pid file, by whoever comes later.

    `stop_signal` asks for an orderly end and `stop_seconds` is how long that may take. The child
    gets `stop_signal` by itself when this process dies (Linux).
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 15,
    ) -> None:
        self.folder, self.name = folder, name
        self.pid_file, self.log_file = folder / f"{name}.pid", folder / f"{name}.log"
        self.stop_signal, self.stop_seconds = stop_signal, stop_seconds
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def spawn(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `command` in a session of its own; its output goes to the log file."""
        try:
            self._spawn([str(part) for part in command], environment or {}, cwd)
        except OSError as error:
            # A child that nobody could find again must not live on.
            if self._popen is not None:
                self.kill()
            # guard: a full disk is told in one sentence
            raise StartFailed(f"{self.name} cannot be started: {in_words(error)}") from None

    def _spawn(
        self, command_line: list[str], environment: Mapping[str, str], cwd: Path | None
    ) -> None:
        variables = {**plain_environment(self.folder), **environment}
        with private_append(self.log_file) as log:
            self._log_start = log.tell()
            self._popen = subprocess.Popen(
                command_line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd or self.folder,
                env=variables,
                umask=0o077,
                start_new_session=True,
                preexec_fn=_dying_with_parent(self.stop_signal),
            )
        # Kept until they end, so that one that outlives its Process object is still reaped.
        _children[:] = [child for child in (*_children, self._popen) if child.poll() is None]
        claim(self.pid_file, self._popen.pid)

    def pid(self) -> int | None:
        """Return the pid while the process lives, else None."""
        if self._popen is not None:
            return self._popen.pid if self._popen.poll() is None else None
        try:
            number, _, birth = self.pid_file.read_text().strip().partition(" ")
            pid = int(number)
        except (OSError, ValueError):
            return None
        # A pid is used again one day: the same number born at another time is somebody else.
        return pid if _lives(pid, birth) else None

    def running(self) -> bool:
        """Tell whether the process lives."""
        return self.pid() is not None

    def new_output(self) -> bytes:
        """Return what the process wrote into its log since it was spawned here."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`; StartFailed when the process ends or `seconds` pass before that."""
        if not wait_for(lambda: not self.running() or ready(), seconds):
            self.kill()
            raise StartFailed(self._failure(f"was not ready within {seconds:.0f} seconds"))
        if not self.running():
            self.forget()
            raise StartFailed(self._failure("ended while it was starting"))

    def _failure(self, what: str) -> str:
        lines = self.new_output().decode(errors="replace").strip().splitlines()
        return f"{self.name} {what}: {lines[-1] if lines else 'it said nothing'} ({self.log_file})"

    def stop(self) -> None:
        """End the process in order, and by SIGKILL when it takes longer than `stop_seconds`."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, self.stop_signal)
            # By the pid: a launcher removes its pid file a little before it ends.
            birth = _birth(pid)
            if wait_for(lambda: not _lives(pid, birth), self.stop_seconds):
                _end_group(pid)
            else:
                _kill(pid, birth)
        self.forget()

    def kill(self) -> None:
        """End the process and its children at once, as a power cut would."""
        pid = self.pid()
        if pid is not None:
            _kill(pid, _birth(pid))
        self.forget()

    def forget(self) -> None:
        """Remove the pid file of a process that has ended."""
        if self._popen is not None:
            self._popen.poll()
        self._popen = None
        self.pid_file.unlink(missing_ok=True)


def in_words(error: OSError) -> str:
    """Say in one sentence what the system refused, and what to do when its disk is full."""
    what = error.strerror or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}{where}. Free some room; nothing that was stored is lost."
    return f"{what}{where}."


def claim(pid_file: Path, pid: int | None = None) -> None:
    """Write the pid (by default our own) down in such a way that nobody is taken for it later."""
    number = pid or os.getpid()
    write_private(pid_file, f"{number} {_birth(number)}\n")


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask `condition` until it holds (True) or `seconds` have passed (False)."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.03)
    return True


def plain_environment(home: Path) -> dict[str, str]:
    """Return the few variables a child needs; secrets of our own environment stay here."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **passed}


def private_folder(folder: Path) -> Path:
    """Create the folder, readable by its owner alone, and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def private_append(path: Path) -> BinaryIO:
    """Open a file for appending that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without running its code; None if missing."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def free_port(preferred: int = 0) -> int:
    """Return a free loopback TCP port: the preferred one while nobody else has it.

    Below the range from which systems take ports for outgoing connections: one of those would
    keep a server from getting its port back after a restart. A server that was just killed keeps
    its port for a moment, until its connections have ended.
    """
    if preferred and wait_for(lambda: _is_free(preferred), _PORT_SECONDS):
        return preferred
    for port in random.sample(_PORTS, 100):
        if _is_free(port):
            return port
    raise StartFailed("There is no free TCP port on 127.0.0.1.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def remembered_port(file: Path) -> int:
    """Return the port the file remembers, or a free one (written down) when that is taken."""
    try:
        known = int(file.read_text())
    except (OSError, ValueError):
        known = 0
    port = free_port(known)
    write_private(file, f"{port}\n")
    return port


def socket_folder(folder: Path) -> Path:
    """Return the folder for unix sockets: `folder/s`, or a short remembered one in /tmp.

    The address of a unix socket has at most 107 bytes, and Postgres splits it at commas.
    """
    inside = folder / "s"
    if len(os.fsencode(inside)) <= _LONGEST_FOLDER and _PLAIN_PATH.fullmatch(str(inside)):
        return private_folder(inside)
    note = folder / "sockets.path"
    with contextlib.suppress(OSError):
        known = Path(note.read_text().strip())
        known.mkdir(mode=0o700, exist_ok=True)
        if _ours_alone(known):
            return known
    made = Path(tempfile.mkdtemp(prefix="keyvault-", dir="/tmp"))
    write_private(note, f"{made}\n")
    return made


def remove_socket_folder(folder: Path) -> None:
    """Remove the socket folder that lies outside of `folder`, if there is one."""
    with contextlib.suppress(OSError):
        outside = Path((folder / "sockets.path").read_text().strip())
        if _ours_alone(outside):
            shutil.rmtree(outside)


def _ours_alone(folder: Path) -> bool:
    status = folder.lstat()
    mode = stat.S_IMODE(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and mode == 0o700


def _kill(pid: int, birth: str) -> None:
    _end_group(pid)
    with contextlib.suppress(ProcessLookupError):
        # A launcher in a shell is in the shell's group, which is not ours to end.
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not _lives(pid, birth), 10)


def _end_group(leader: int) -> None:
    """End what is left of the group that the process leads or led; most often nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _lives(pid: int, birth: str) -> bool:
    return _alive(pid) and _birth(pid) == birth


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _status(pid)[:1] != ["Z"]


def _birth(pid: int) -> str:
    """Return when the process was born, in clock ticks since boot; "" where /proc is missing."""
    fields = _status(pid)
    return fields[19] if len(fields) > 19 else ""


def _status(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command's name stands in brackets and may itself hold spaces and brackets.
    return text.rpartition(")")[2].split()


def _dying_with_parent(signal_number: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
