"""Holds docker-compose.yml to the settings, to least rights and to its own files.

Each rule is a function from the parsed file to complaints, so that a spoilt copy shows it at work.
"""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.guards import ROOT, settings_read

Compose = dict[str, Any]
OURS = ("web", "worker", "beat", "migrate")
SERVERS = ("postgres", "redis", "vault")
# What `check --deploy` demands beside what no process can start without.
ALSO_NEEDED = {"ALLOWED_HOSTS", "BASE_URL"}
VAULT = {"VAULT_ADDR", "VAULT_CACERT", "VAULT_ROLE_ID", "VAULT_SECRET_ID"}


def compose() -> Compose:
    """Return docker-compose.yml, parsed."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def given(service: dict[str, Any]) -> set[str]:
    """Return the settings a service is given, directly or as a file."""
    return {name.removesuffix("_FILE") for name in service["environment"]}


def wrong_settings(file: Compose) -> list[str]:
    """Complain of settings nobody reads, and of services that lack a needed one."""
    known, found = settings_read(), []
    needed = {name for name, required in known.items() if required and name not in VAULT}
    for name in OURS:
        service = file["services"][name]
        wanted = needed | ALSO_NEEDED | (VAULT if name in ("web", "worker") else set())
        found += [f"{name}: nobody reads {s}" for s in sorted(given(service) - set(known))]
        found += [f"{name}: lacks {s}" for s in sorted(wanted - given(service))]
    return found


def too_many_rights(file: Compose) -> list[str]:
    """Complain of a service that is given what only another one may hold."""
    services = file["services"]
    holders = {
        "DATABASE_OWNER_URL": {"migrate"},
        "AUDIT_SIGNING_KEY": {"worker"},
        "VAULT_SECRET_ID": {"web", "worker"},
    }
    found = [
        f"{name} holds {setting}"
        for setting, may in holders.items()
        for name in OURS
        if setting in given(services[name]) and name not in may
    ]
    for name, other in (("web", "worker"), ("worker", "web")):
        said = yaml.safe_dump([services[name]["environment"], services[name]["secrets"]])
        if re.search(rf"vault_{other}|VAULT_{other.upper()}", said):
            found.append(f"{name} holds the {other}'s Vault role")
    return found


def loose_secrets(file: Compose) -> list[str]:
    """Complain of secrets in the environment, unmounted ones, and ones that nobody asked for."""
    found = [f"{name} is not declared" for name in mounted(file) - set(file["secrets"])]
    found += [f"{name} is mounted nowhere" for name in set(file["secrets"]) - mounted(file)]
    for name in OURS:
        service = file["services"][name]
        files = {
            Path(str(value)).name
            for value in service["environment"].values()
            if str(value).startswith("/run/secrets/")
        }
        if files != set(service["secrets"]):
            found.append(f"{name}: named and mounted differ: {files ^ set(service['secrets'])}")
        for setting in ("SECRET_KEY", "FINGERPRINT_KEY", "TOKEN_PEPPER", "DATABASE_URL"):
            if setting in service["environment"]:
                found.append(f"{name}: {setting} stands in the environment")
    return found


def mounted(file: Compose) -> set[str]:
    """Return the names of all secrets that some service mounts."""
    return {secret for service in file["services"].values() for secret in service["secrets"]}


def soft(file: Compose) -> list[str]:
    """Complain of a service that runs as root, can write its image, or keeps capabilities."""
    found = []
    for name, service in file["services"].items():
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(service.get("user"))):
            found.append(f"{name} runs as root")
        if service.get("read_only") is not True:
            found.append(f"{name} can write its root file system")
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            found.append(f"{name} keeps capabilities")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            found.append(f"{name} can gain privileges")
        if not re.fullmatch(r"[\w/.-]+:v?\d+\.\d+(\.\d+)?", service["image"]):
            found.append(f"{name}: the image is not pinned to a release")
        if name != "migrate" and "test" not in service.get("healthcheck", {}):
            found.append(f"{name} has no health check")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                found.append(f"{name} listens on every interface")
    return found


def unreliable(file: Compose) -> list[str]:
    """Complain of what would lose work at a deploy, or with the broker."""
    services, found = file["services"], []
    if services["worker"].get("stop_grace_period") != "90s":
        found.append("the worker is killed before its step can end")
    if " beat" in " ".join(services["worker"]["command"]) or "-B" in services["worker"]["command"]:
        found.append("every worker would be a beat")
    redis = services["redis"]["command"]
    if redis[redis.index("--appendonly") + 1] != "yes" or "noeviction" not in redis:
        found.append("the broker forgets")
    if not any(volume.startswith("redis:") for volume in services["redis"]["volumes"]):
        found.append("the broker's log lies in the container")
    if "--worker-class=keyvault.web_server.BufferingWorker" not in services["web"]["command"]:
        found.append("connections that say nothing take the threads of web")
    if "--no-control-socket" not in services["web"]["command"]:
        found.append("gunicorn opens a control socket")
    for name in ("web", "worker", "beat"):
        if services[name]["depends_on"]["migrate"] != {
            "condition": "service_completed_successfully"
        }:
            found.append(f"{name} starts before the migrations")
    if services["migrate"]["restart"] != "no":
        found.append("migrate runs again and again")
    return found


def reachable(file: Compose) -> list[str]:
    """Complain of a data store that others than our processes can reach."""
    found = [] if file["networks"]["inside"] == {"internal": True} else ["inside is open"]
    for name in ("postgres", "redis", "beat", "migrate"):
        if file["services"][name]["networks"] != ["inside"]:
            found.append(f"{name} is on another network")
    return found


def set_in(*path: str, to: Any) -> Callable[[Compose], None]:
    """Return a change that sets one value of the parsed file."""

    def change(file: Compose) -> None:
        *folders, last = path
        place: Any = file
        for folder in folders:
            place = place[folder]
        place[last] = to

    return change


def without(*path: str) -> Callable[[Compose], None]:
    """Return a change that takes one entry out of the parsed file."""

    def change(file: Compose) -> None:
        *folders, last = path
        place: Any = file
        for folder in folders:
            place = place[folder]
        place.remove(last) if isinstance(place, list) else place.pop(last)

    return change


S = "services"
RULES: list[tuple[Callable[[Compose], list[str]], list[Callable[[Compose], None]]]] = [
    (
        wrong_settings,
        [
            set_in(S, "web", "environment", "NO_SUCH_SETTING", to="1"),
            without(S, "beat", "environment", "TOKEN_PEPPER_FILE"),
            without(S, "worker", "environment", "VAULT_SECRET_ID_FILE"),
            without(S, "web", "environment", "BASE_URL"),
        ],
    ),
    (
        too_many_rights,
        [
            set_in(S, "web", "environment", "DATABASE_OWNER_URL_FILE", to="/run/secrets/o"),
            set_in(S, "worker", "environment", "DATABASE_OWNER_URL_FILE", to="/run/secrets/o"),
            set_in(S, "web", "environment", "VAULT_ROLE_ID", to="${VAULT_WORKER_ROLE_ID:-}"),
            set_in(S, "web", "secrets", to=["vault_worker_secret_id"]),
            set_in(S, "web", "environment", "AUDIT_SIGNING_KEY_FILE", to="/run/secrets/a"),
            set_in(S, "beat", "environment", "VAULT_SECRET_ID_FILE", to="/run/secrets/v"),
        ],
    ),
    (
        loose_secrets,
        [
            set_in(S, "web", "environment", "SECRET_KEY", to="plain"),
            set_in(S, "beat", "secrets", to=["secret_key", "database_owner_url"]),
            without(S, "worker", "secrets", "broker_url"),
            without("secrets", "token_pepper"),
            set_in("secrets", "left_over", to={"file": "deploy/secrets/left_over"}),
        ],
    ),
    (
        soft,
        [
            set_in(S, "web", "user", to="0:0"),
            without(S, "redis", "user"),
            set_in(S, "worker", "read_only", to=False),
            without(S, "vault", "cap_drop"),
            set_in(S, "vault", "cap_add", to=["IPC_LOCK"]),
            without(S, "postgres", "security_opt"),
            set_in(S, "redis", "image", to="redis:latest"),
            set_in(S, "redis", "image", to="redis"),
            without(S, "beat", "healthcheck"),
            set_in(S, "web", "ports", to=["8000:8000"]),
        ],
    ),
    (
        unreliable,
        [
            without(S, "worker", "stop_grace_period"),
            set_in(S, "worker", "command", to=["celery", "worker", "-B"]),
            set_in(S, "redis", "command", to=["redis-server", "--appendonly", "no"]),
            without(S, "redis", "command", "noeviction"),
            set_in(S, "redis", "volumes", to=[]),
            without(S, "web", "command", "--no-control-socket"),
            set_in(S, "web", "depends_on", "migrate", to={"condition": "service_started"}),
            set_in(S, "migrate", "restart", to="always"),
        ],
    ),
    (
        reachable,
        [
            set_in("networks", "inside", to=None),
            set_in(S, "postgres", "networks", to=["inside", "outside"]),
        ],
    ),
]
SPOILT = [(n, m) for n, (_, changes) in enumerate(RULES) for m in range(len(changes))]


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES])
def test_the_file_keeps_the_rule(rule: Callable[[Compose], list[str]]) -> None:
    assert rule(compose()) == []


@pytest.mark.parametrize(("rule", "change"), SPOILT)
def test_the_rule_refuses_a_spoilt_file(rule: int, change: int) -> None:
    file = copy.deepcopy(compose())
    complain, changes = RULES[rule]
    changes[change](file)
    assert complain(file)


def test_the_services_are_the_ones_that_are_known_here() -> None:
    assert set(compose()["services"]) == {*OURS, *SERVERS}


def test_every_variable_of_the_file_stands_in_the_example_and_the_other_way_round() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=", example, re.MULTILINE)) == asked


def test_every_file_that_is_mounted_or_copied_is_there() -> None:
    mounts = [
        v for s in compose()["services"].values() for v in s.get("volumes", []) if v[0] == "."
    ]
    assert mounts
    assert [m for m in mounts if not (ROOT / m.split(":")[0]).is_file()] == []
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        for word in line.split()[:-1]:
            assert (ROOT / word).exists(), word
            assert f"!{word}" in ignored, f"{word} never reaches the image"


def test_the_image_is_pinned_locked_and_not_roots() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert all(
        re.search(r":\d+\.\d+\.\d+", line) for line in re.findall(r"^FROM .+$", dockerfile, re.M)
    )
    assert '--require-hashes -r "$REQUIREMENTS"' in dockerfile
    assert "ARG REQUIREMENTS=requirements.txt" in dockerfile
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert {compose()["services"][name]["user"] for name in OURS} == {"10001:10001"}


# --- The secrets that deploy/make-secrets makes ---


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that deploy/make-secrets has filled."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(folder)
    return folder


def make_secrets(folder: Path) -> str:
    """Run deploy/make-secrets and return all it said."""
    done = subprocess.run(
        [ROOT / "deploy/make-secrets"],
        env={"PATH": os.environ["PATH"], "SECRETS_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_make_secrets_makes_every_declared_secret_and_closes_the_folder(secrets: Path) -> None:
    declared = {Path(entry["file"]).name for entry in compose()["secrets"].values()}
    assert declared <= {path.name for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    random = [path.read_text() for path in secrets.iterdir() if len(path.read_text()) == 64]
    assert len(set(random)) == len(random) >= 7


def test_make_secrets_keeps_what_is_there_and_says_no_secret(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    said = make_secrets(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert not [name for name, value in before.items() if value and value in said]


def test_the_secrets_folder_is_never_committed() -> None:
    ignored = (ROOT / "deploy/secrets/.gitignore").read_text(encoding="utf-8").split()
    assert ignored == ["*", "!.gitignore"]
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("name", ["web", "worker", "beat", "migrate"])
def test_each_process_starts_with_what_it_is_given(name: str, secrets: Path) -> None:
    for role in ("web", "worker"):
        (secrets / f"vault_{role}_secret_id").chmod(0o600)
        (secrets / f"vault_{role}_secret_id").write_text("sample")
    done = subprocess.run(
        [sys.executable, "manage.py", *start_check(name)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment(name, secrets)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def start_check(name: str) -> list[str]:
    """Return what to run: production's checks where the keys and Vault that they ask for are given.

    Only the worker holds the signing key, whose absence elsewhere is a warning.
    """
    level = {"web": "ERROR", "worker": "WARNING"}.get(name)
    return ["check", *(["--deploy", "--tag=security", f"--fail-level={level}"] if level else [])]


def environment(name: str, secrets: Path) -> dict[str, str]:
    """Return what a service is given, filled from .env.example, its secrets from a folder."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    filled = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    filled |= {"VAULT_WEB_ROLE_ID": "sample-web", "VAULT_WORKER_ROLE_ID": "sample-worker"}

    def value_of(text: str) -> str:
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: filled[match[1]], text)
        return text.replace("/run/secrets", str(secrets))

    settings = compose()["services"][name]["environment"]
    return {setting: value_of(str(value)) for setting, value in settings.items()}
