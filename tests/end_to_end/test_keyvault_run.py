"""`scripts/keyvault_run.py`: a program that reads its key once, at its start, follows every rotation."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keyvault.delivery import tokens
from keyvault.models import ServiceToken, TokenKeyVersion
from rotation.consumers import adoption, registry
from rotation.models import Acknowledgement, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.guards import ROOT
from tests.rotation.driving import drive, started, step
from tests.waiting import until

TOOL = str(ROOT / "scripts" / "keyvault_run.py")
# Says in a file which key it has, by a digest, and whether it was given the token; then stays.
PROGRAM = """
import hashlib, os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
with open(os.environ["LOG"], "a") as log:
    held = hashlib.sha256(os.environ["THE_KEY"].encode()).hexdigest()
    log.write(f"{held} {os.getpid()} {sorted(n for n in os.environ if 'KEYVAULT' in n)}\\n")
for word in sys.argv:
    if word.startswith("exits "):
        sys.exit(int(word[6:]))
if "picky" in sys.argv and open(os.environ["LOG"]).read(64) != held:
    sys.exit(3)
time.sleep(60)
"""


def digest(version: Any) -> str:
    return hashlib.sha256(secret_of(version).encode()).hexdigest()


class Tool:
    """The tool with the program above, and what both wrote."""

    def __init__(
        self,
        folder: Path,
        url: str,
        token: str,
        key: int,
        *more: str,
        settled: str = "0.3",
        ready: str = "",
        **variables: str,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.log, self.said = folder / "program.log", folder / "said"
        where = {"KEYVAULT_URL": url, "KEYVAULT_TOKEN": token, "LOG": str(self.log), **variables}
        options = ["--set", f"THE_KEY={key}", "--every", "0.2", "--wait", "1", "--grace", "1"]
        options += ["--settled", settled, *(["--ready", ready] if ready else [])]
        program = ["--", sys.executable, "-c", PROGRAM, *more]
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, TOOL, *options, *program],
                env={"PATH": os.environ["PATH"], **where},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def starts(self) -> list[list[str]]:
        """Return digest, process and variables of ours of each start."""
        return [row.split(" ", 2) for row in self.log.read_text().splitlines()]

    def until_started(self, times: int = 1) -> None:
        until(lambda: self.log.exists() and len(self.starts()) == times, 15, f"{times} starts")


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> Any:
    return make_key(vendor, place, people.owner)


@pytest.fixture
def token(place: Any, people: Any) -> str:
    added = registry.add_consumer(people.owner, "run", place.application, place.environment)
    return added.token.reveal()


@pytest.fixture
def run(tmp_path: Path, live_url: str, key: Any, token: str) -> Iterator[Callable[..., Tool]]:
    """Return what starts the tool; it is ended with the test."""
    running: list[Tool] = []

    def start(
        *more: str, url: str = live_url, token: str = token, folder: str = "", **options: str
    ) -> Tool:
        running.append(Tool(tmp_path / folder, url, token, key.pk, *more, **options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(10)


def lives(process: str) -> bool:
    return Path(f"/proc/{process}").exists()


def test_a_rotation_is_followed_and_acknowledged_when_the_old_program_has_ended(
    run: Callable[..., Tool], vendor: Any, place: Any, people: Any, key: Any, token: str
) -> None:
    tool = run()
    tool.until_started()
    assert tool.starts()[0][0] == digest(key.current)
    assert tool.starts()[0][2] == "[]", "the program needs no token"
    until(lambda: not adoption.not_moved(key, key.current), 10, "the acknowledgement")
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.step == Step.DELETE)
    (first, old, _), (second, new, _) = tool.starts()
    assert second == digest(rotation.new_version) != first
    assert not lives(old)
    assert lives(new)
    assert rotation.adopted_how == "Every consumer proved that it holds the new key."
    assert drive(rotation).step == Step.DONE
    for process in (str(tool.process.pid), new):
        shown = Path(f"/proc/{process}/cmdline").read_text()
        assert secret_of(rotation.new_version) not in shown
        assert token not in shown
    said = tool.said.read_text()
    assert "THE_KEY version 2" in said
    assert token not in said


def test_a_program_that_will_not_end_is_killed_before_the_key_is_acknowledged(
    run: Callable[..., Tool], people: Any, key: Any
) -> None:
    tool = run("stubborn")
    tool.until_started()
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.waiting_for in (WaitingFor.ADOPTION, WaitingFor.QUIET))
    tool.until_started(2)
    (_, old, _), (_, new, _) = tool.starts()
    assert not lives(old)
    version = rotation.new_version
    until(lambda: Acknowledgement.objects.filter(version=version).exists(), 10, "the word")
    os.kill(int(new), signal.SIGKILL)
    assert tool.process.wait(10) == 128 + signal.SIGKILL


def test_a_program_that_dies_with_the_new_key_is_not_acknowledged(
    run: Callable[..., Tool], people: Any, key: Any
) -> None:
    """B114: it was acknowledged as soon as it was started, and there was nothing to go back to."""
    tool = run("picky")
    tool.until_started()
    until(lambda: not adoption.not_moved(key, key.current), 10, "the acknowledgement")
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.waiting_for in (WaitingFor.ADOPTION, WaitingFor.QUIET))
    assert tool.process.wait(15) == 3
    assert len(tool.starts()) == 2
    assert not Acknowledgement.objects.filter(version=rotation.new_version).exists()
    said = tool.said.read_text()
    assert "ended with 3 after" in said
    assert "THE_KEY version 2: not acknowledged, so the old key stays" in said
    rotation.refresh_from_db()
    assert (rotation.step, rotation.adopted_at) == (Step.VERIFY, None)
    assert "run" in rotation.waiting_text


def test_a_program_is_acknowledged_once_its_own_command_says_so(
    run: Callable[..., Tool], tmp_path: Path, key: Any
) -> None:
    """B114: whatever runs long before it works is told by a command, not by time."""
    ready, asked = tmp_path / "ready", tmp_path / "asked"
    command = f"sh -c 'env >> {asked}; test -e {ready}'"
    tool = run(settled="0", ready=command)
    tool.until_started()
    until(lambda: asked.exists() and asked.read_text().count("LOG=") > 1, 15, "two questions")
    assert not Acknowledgement.objects.exists()
    ready.touch()
    until(lambda: not adoption.not_moved(key, key.current), 15, "the acknowledgement")
    assert tool.process.poll() is None
    assert "THE_KEY" not in asked.read_text(), "it is given neither the key nor the token"
    assert "KEYVAULT" not in asked.read_text()


def test_each_copy_acknowledges_for_itself(run: Callable[..., Tool], people: Any, key: Any) -> None:
    """B114: two copies on one token; one is stopped while the key rotates, and is waited for."""
    first, second = run(folder="a"), run(folder="b", KEYVAULT_INSTANCE="copy-b")
    for tool in (first, second):
        tool.until_started()
    until(
        lambda: TokenKeyVersion.objects.exclude(proved=None).count() == 2, 15, "both to acknowledge"
    )
    assert TokenKeyVersion.objects.filter(instance="copy-b").exists()
    second.process.send_signal(signal.SIGSTOP)
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.waiting_for == WaitingFor.ADOPTION)
    first.until_started(2)
    until(
        lambda: TokenKeyVersion.objects.filter(proved=rotation.new_version).exists(),
        15,
        "the first",
    )
    step(rotation)
    assert (rotation.step, rotation.adopted_at) == (Step.VERIFY, None)
    assert "run (1 of 2 copies" in rotation.waiting_text
    second.process.send_signal(signal.SIGCONT)
    second.until_started(2)
    assert drive(rotation).step == Step.DONE
    odd = run(folder="c", KEYVAULT_INSTANCE="no such name")
    assert odd.process.wait(10) == 2
    assert "KEYVAULT_INSTANCE" in odd.said.read_text()


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGUSR1, 7), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_signals_and_the_exit_code_pass_through(
    run: Callable[..., Tool], sent: signal.Signals, code: int
) -> None:
    tool = run()
    tool.until_started()
    until(lambda: "started with" in tool.said.read_text(), 10, "the start")
    tool.process.send_signal(sent)
    assert tool.process.wait(10) == code
    assert not lives(tool.starts()[0][1])


def test_the_program_goes_on_while_its_token_is_refused_or_keyvault_is_away(
    run: Callable[..., Tool], people: Any
) -> None:
    tool = run()
    tool.until_started()
    tokens.revoke(people.owner, ServiceToken.objects.get())
    until(lambda: "going on with version 1" in tool.said.read_text(), 10, "a word of it")
    until(lambda: tool.process.poll() is None, 1)
    assert len(tool.starts()) == 1
    assert tool.said.read_text().count("going on") == 1, "said once, as long as it lasts"


@contextmanager
def against_stub(
    folder: Path, answers: list[int], asked: list[str], *more: str, **options: str
) -> Any:
    """Run the tool against a stub that gives version 1, and notes what it was asked for."""

    class Stub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.rsplit("/", 1)[1])
            said = {"secret": "s" * 20} if self.path.endswith("secret") else {"nonce": "n"}
            self.answer(200, {**said, "version": 1})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(answers.pop(0) if answers else 500, {"message": "not now"})

        def answer(self, status: int, said: dict[str, Any]) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tool = Tool(folder, f"http://127.0.0.1:{server.server_port}", "token", 7, *more, **options)
    try:
        yield tool
    finally:
        tool.process.terminate()
        tool.process.wait(10)
        server.shutdown()
        server.server_close()


def test_an_acknowledgement_that_came_at_a_bad_moment_is_made_again(tmp_path: Path) -> None:
    """A nonce too old or a version just replaced (400, 409) is no last word; a stub says so first."""
    answers = [409, 400, 200]
    with against_stub(tmp_path, answers, []) as tool:
        until(lambda: answers == [], 15, "the third try")
        tool.until_started()
    assert "not acknowledged" not in tool.said.read_text()


@pytest.mark.parametrize(("code", "known"), [(0, {"secret", "acknowledge"}), (1, {"secret"})])
def test_a_job_that_did_its_work_is_acknowledged_and_one_that_dies_is_not(
    tmp_path: Path, code: int, known: set[str]
) -> None:
    """B114: a nightly job of some seconds proves by ending well, and by nothing else."""
    asked: list[str] = []
    with against_stub(tmp_path, [200], asked, f"exits {code}", settled="3600") as tool:
        assert tool.process.wait(15) == code
    assert set(asked) == known
    assert ("not acknowledged" in tool.said.read_text()) is bool(code)


def test_no_look_acknowledges_a_program_before_it_stayed_up(tmp_path: Path) -> None:
    """B114: ten seconds by default; here an hour, while the key is looked at all the time."""
    asked: list[str] = []
    with against_stub(tmp_path, [200], asked, settled="3600") as tool:
        tool.until_started()
        until(lambda: len(asked) >= 5, 15, "four looks after the start")
    assert set(asked) == {"secret"}


def test_nothing_is_started_without_a_key(run: Callable[..., Tool], token: str) -> None:
    away = run(url="http://127.0.0.1:9")
    assert away.process.wait(20) == 69
    assert "Nothing was started" in away.said.read_text()
    refused = run(token=token[:-1] + ("x" if token[-1] != "x" else "y"))
    assert refused.process.wait(20) == 77
    assert "Nothing was started" in refused.said.read_text()
    assert token[:-1] not in refused.said.read_text()
    assert not refused.log.exists()


def test_the_token_goes_nowhere_else(run: Callable[..., Tool], token: str) -> None:
    """No redirect is followed, and nothing is sent in the clear beyond this machine."""
    seen: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/stolen")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        tool = run(url=f"http://127.0.0.1:{server.server_port}")
        assert tool.process.wait(20) == 69
    finally:
        server.shutdown()
        server.server_close()
    assert seen
    assert "/stolen" not in seen
    clear = run(url="http://keys.example.com")
    assert clear.process.wait(10) == 2
    assert "https://" in clear.said.read_text()


def test_the_token_may_stand_in_a_file_and_bad_words_are_named(
    tmp_path: Path, live_url: str, key: Any, token: str
) -> None:
    def ran(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, TOOL, *arguments],
            env={"PATH": os.environ["PATH"], "KEYVAULT_URL": live_url, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    file = tmp_path / "token"
    file.write_text(token + "\n")
    show = [sys.executable, "-c", "import os; print(len(os.environ['A_KEY']))"]
    chosen = ["--set", f"A_KEY={key.pk}", "--"]
    good = ran(*chosen, *show, KEYVAULT_TOKEN_FILE=str(file))
    assert (good.returncode, good.stdout) == (0, f"{key.current.length}\n")
    assert ran(*chosen, *show).returncode == 2
    assert ran(*chosen, *show, KEYVAULT_TOKEN_FILE=str(tmp_path / "none")).returncode == 2
    assert "NAME=NUMBER" in ran("--set", "A KEY=7", "--", "true", KEYVAULT_TOKEN=token).stderr
    lost = ran(*chosen, "no-such-program", KEYVAULT_TOKEN=token)
    assert lost.returncode == 127
    assert "no-such-program" in lost.stderr
