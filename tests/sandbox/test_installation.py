"""The installation in one folder: one command starts it whole, and nothing of it stays behind."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from sandbox.installation import OWNER_EMAIL, Installation
from sandbox.services.postgres import Postgres
from sandbox.services.process import MissingPart, StartFailed
from sandbox.services.valkey import Valkey
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
EVERYTHING = ["app", "beat", "openbao", "postgres", "valkey", "vendor", "web", "worker"]
GIVEN = ("DATABASE_URL", "DATABASE_OWNER_URL", "CELERY_BROKER_URL", "VAULT_ADDR", "VAULT_ROLE_ID")
TUNED = ("TICK_SECONDS", "DEFAULT_OVERLAP_SECONDS", "DEFAULT_QUIET_SECONDS", "LOG_LEVEL")
LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run of the tests has servers of its own in the environment; the sandbox must not."""
    for name in (*GIVEN, *TUNED, "VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE"):
        monkeypatch.delenv(name, raising=False)


def sandbox(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", "--folder", str(folder), *words]
    return subprocess.run(
        command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, check=False
    )


def own_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ}


class Launched:
    """`python -m sandbox run` as a person has it in a terminal."""

    def __init__(self, folder: Path, wait: bool = True) -> None:
        self.folder, self.output = folder, folder.with_name(f"{folder.name}.out")
        self.popen: subprocess.Popen[bytes] | None = None
        self.start(wait)

    def start(self, wait: bool = True) -> None:
        with self.output.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "--folder", str(self.folder), "run"],
                cwd=ROOT,
                env=own_environment(),
                stdout=output,
                stderr=output,
            )
        if not wait:
            return
        until(lambda: self.ended() or "Ctrl-C" in self.said(), 120, "the installation")
        assert not self.ended(), self.said()

    def ended(self) -> bool:
        assert self.popen
        return self.popen.poll() is not None

    def said(self) -> str:
        return self.output.read_text()

    def send(self, number: signal.Signals) -> int:
        assert self.popen
        self.popen.send_signal(number)
        return self.popen.wait(150)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    launched = Launched(tmp_path_factory.mktemp("launched") / "run")
    yield launched
    if not launched.ended():
        launched.send(signal.SIGTERM)
    assert sandbox(launched.folder, "clean").returncode == 0


@pytest.fixture
def installation(launched: Launched) -> Installation:
    return Installation(launched.folder)


def processes_of(folder: Path) -> dict[int, Path]:
    """Every process that has its home or its working directory in the folder."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            home = f"HOME={folder}".encode() in (process / "environ").read_bytes()
            if home or (process / "cwd").resolve().is_relative_to(folder):
                found[int(process.name)] = process
        except OSError:
            continue
    return found


def json_of(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def password_in(text: str) -> str:
    found = re.search(r"^Password    (\S{16,}) ", text, re.MULTILINE)
    return found[1] if found else ""


# --- The settings that each process is given ---


def test_each_kind_of_process_is_given_what_it_needs_and_no_more(
    installation: Installation,
) -> None:
    web, worker, owner = (installation.environment(kind) for kind in ("web", "worker", "owner"))
    assert "DATABASE_OWNER_URL" in owner
    assert not {"DATABASE_OWNER_URL", "AUDIT_SIGNING_KEY_FILE"} & set(web)
    assert "DATABASE_OWNER_URL" not in worker
    assert "AUDIT_SIGNING_KEY_FILE" in worker
    assert web["VAULT_ROLE_ID"] == owner["VAULT_ROLE_ID"] != worker["VAULT_ROLE_ID"]
    assert web["VAULT_SECRET_ID_FILE"] != worker["VAULT_SECRET_ID_FILE"]
    assert "keyvault_app@" in web["DATABASE_URL"]
    assert web["BASE_URL"] == installation.url


def test_secrets_are_made_once_and_each_is_another(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.settings.prepare()
    first = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    installation.settings.prepare()
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == first
    assert set(first) == {"SECRET_KEY", "FINGERPRINT_KEY", "TOKEN_PEPPER", "AUDIT_SIGNING_KEY"}
    assert len(set(first.values())) == len(first)
    assert min(map(len, first.values())) >= 44


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"DATABASE_URL": "postgres://a@/b"}, "DATABASE_OWNER_URL"),
        ({"VAULT_ADDR": "https://vault.example"}, "VAULT_ROLE_ID"),
        ({"VAULT_ADDR": "https://vault.example", "VAULT_ROLE_ID": "r"}, "VAULT_SECRET_ID"),
    ],
)
def test_half_a_server_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MissingPart, match=missing):
        Installation(tmp_path).start()


def test_given_servers_reach_the_processes_as_files_and_workers_have_a_role_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "DATABASE_URL": "postgres://app:canary@db.example/keyvault",
        "DATABASE_OWNER_URL": "postgres://owner:canary@db.example/keyvault",
        "CELERY_BROKER_URL": "redis://:canary@broker.example/0",
        "VAULT_ADDR": "https://vault.example",
        "VAULT_ROLE_ID": "web-role",
        "VAULT_SECRET_ID": "canary-web",
        "WORKER_VAULT_ROLE_ID": "worker-role",
        "WORKER_VAULT_SECRET_ID": "canary-worker",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Installation(tmp_path).settings
    settings.prepare()
    assert (settings.postgres, settings.valkey, settings.openbao) == (None, None, None)
    web, worker = settings.environment("web"), settings.environment("worker")
    assert (web["VAULT_ROLE_ID"], worker["VAULT_ROLE_ID"]) == ("web-role", "worker-role")
    assert Path(web["VAULT_SECRET_ID_FILE"]).read_text() == "canary-web"
    assert Path(worker["VAULT_SECRET_ID_FILE"]).read_text() == "canary-worker"
    assert "canary" not in str(web) + str(worker)


def test_given_servers_are_used_instead_of_own_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, valkey = Postgres(tmp_path / "p", durable=False), Valkey(tmp_path / "v")
    try:
        postgres.start()
        valkey.start()
        monkeypatch.setenv("DATABASE_URL", postgres.app_url)
        monkeypatch.setenv("DATABASE_OWNER_URL", postgres.owner_url)
        monkeypatch.setenv("CELERY_BROKER_URL", valkey.broker_url)
        monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
        monkeypatch.setenv("VAULT_ROLE_ID", "role")
        monkeypatch.setenv("VAULT_SECRET_ID", "canary")
        installation = Installation(tmp_path / "run")
        installation.settings.prepare()
        assert set(installation.status()) == {"vendor", "web", "worker", "beat", "app"}
        installation.manage("migrate", "--database", "owner", "--verbosity", "0")
        answer = json.loads(installation.manage("createowner", "a@example.com", "--json"))
        assert answer["created"] is True
        with psycopg.connect(postgres.app_url) as connection:
            count = connection.execute("SELECT count(*) FROM keyvault_member").fetchone()
        assert count == (1,)
        assert not (tmp_path / "run" / "postgres").exists()
    finally:
        valkey.stop()
        postgres.stop()


def test_a_command_that_fails_is_reported_by_its_last_words(installation: Installation) -> None:
    with pytest.raises(StartFailed, match=r"manage\.py createowner failed: .*email address"):
        installation.manage("createowner", "not an address")


# --- The whole of it ---


def test_one_command_starts_everything_and_says_where(
    launched: Launched, installation: Installation
) -> None:
    status = json.loads(sandbox(launched.folder, "status", "--json").stdout)
    assert sorted(status["processes"]) == EVERYTHING
    assert status["running"] is True
    said = launched.said()
    sign_in = installation.seeds.sign_ins()["manual"]
    for fact in (installation.url, OWNER_EMAIL, installation.vendor_url, *sign_in.values()):
        assert fact in said
    assert password_in(said)
    assert requests.get(f"{installation.url}/sign-in", timeout=10).status_code == 200


def test_the_sample_application_works_with_the_key_it_fetched(launched: Launched) -> None:
    status = launched.folder / "app" / "status.json"
    until(lambda: json_of(status)["ok"] >= 4, 30, "calls of the sample application")
    assert json_of(status)["refused"] == 0
    until(lambda: json_of(status)["acknowledged_version"] == 1, 30, "its acknowledgement")


def test_no_secret_stands_in_arguments_environments_or_logs(
    launched: Launched, installation: Installation
) -> None:
    assert installation.settings.openbao
    config = json_of(launched.folder / "app" / "config.json")
    canaries = {file.name: file.read_text() for file in (launched.folder / "secrets").iterdir()}
    canaries |= {name: config[name] for name in ("token", "webhook_secret")}
    for role in ("web", "worker"):
        canaries[role] = installation.settings.openbao.credentials(role)[1]
    canaries["password"] = password_in(launched.said())
    logs = [log.read_text() for log in launched.folder.rglob("*.log")]
    processes = [
        (process / name).read_bytes().decode(errors="replace")
        for process in processes_of(launched.folder).values()
        for name in ("cmdline", "environ")
    ]
    assert len(processes) > 16
    assert [n for n, secret in canaries.items() if any(secret in t for t in logs + processes)] == []


def test_the_vendors_secrets_are_forgotten_once_they_have_arrived(launched: Launched) -> None:
    for account in json_of(launched.folder / "vendor.json").values():
        assert not {"secret", "management_credential"} & set(account)
    assert not {"token", "webhook_secret"} & set(json_of(launched.folder / "seeds.json"))


def test_nothing_in_the_folder_is_open_to_others(launched: Launched) -> None:
    found = [
        str(path)
        for path in [launched.folder, *launched.folder.rglob("*")]
        if not stat.S_ISSOCK(path.lstat().st_mode) and path.lstat().st_mode & 0o077
    ]
    assert found == []


@LINUX
def test_everything_listens_on_loopback_only(launched: Launched) -> None:
    inodes = set()
    for process in processes_of(launched.folder).values():
        for fd in (process / "fd").iterdir():
            inodes.add(str(fd.readlink()).removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert len(listening) >= 4
    assert {address.partition(":")[0] for address in listening} == {"0100007F"}


def test_a_second_run_in_the_same_folder_is_refused(launched: Launched) -> None:
    second = sandbox(launched.folder, "run")
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert second.stderr.count("\n") == 1
    assert not launched.ended()


def test_what_ends_by_itself_is_started_again(
    launched: Launched, installation: Installation
) -> None:
    before = installation.parts["worker"].process.pid()
    assert before
    os.killpg(before, signal.SIGKILL)

    def again() -> bool:
        return installation.parts["worker"].process.pid() not in (None, before)

    until(again, 60, "a new worker")
    until(lambda: "started again: worker" in launched.said(), 60, "the word about it")


@LINUX
def test_ctrl_c_ends_everything_and_the_next_run_goes_on_from_there(
    launched: Launched, installation: Installation
) -> None:
    url, seeds = installation.url, installation.seeds.ids()
    assert launched.send(signal.SIGINT) == 0
    assert processes_of(launched.folder) == {}
    assert list(launched.folder.rglob("*.pid")) == []
    assert sandbox(launched.folder, "status").returncode == 1
    launched.start()
    assert (installation.url, installation.seeds.ids()) == (url, seeds)
    assert password_in(launched.said()) == ""
    status = launched.folder / "app" / "status.json"
    until(lambda: json_of(status)["ok"] >= 2, 30, "calls with the kept key")


@LINUX
def test_a_killed_launcher_leaves_nothing_that_stop_does_not_end(launched: Launched) -> None:
    if launched.ended():
        launched.start()
    launched.send(signal.SIGKILL)
    assert sandbox(launched.folder, "stop").returncode == 0
    assert processes_of(launched.folder) == {}
    assert list(launched.folder.rglob("*.pid")) == []


@LINUX
def test_stop_ends_a_launcher_in_the_middle_of_its_start_and_clean_deletes_it(
    tmp_path: Path,
) -> None:
    early = Launched(tmp_path / "early", wait=False)
    try:
        until((early.folder / "openbao" / "openbao.pid").exists, 60, "the start to be half done")
    finally:
        assert sandbox(early.folder, "stop").returncode == 0
    until(early.ended, 5, "the launcher's end")
    assert early.said().splitlines()[-1].startswith("Stopped;")
    assert processes_of(early.folder) == {}
    assert sandbox(early.folder, "stop").returncode == 0
    assert sandbox(early.folder, "clean").returncode == 0
    assert not early.folder.exists()


def test_nothing_is_made_by_asking_a_folder_that_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert sandbox(folder, "status").returncode == 1
    assert sandbox(folder, "stop").returncode == 0
    assert not folder.exists()
