"""Texts of the console are marked for translation, and a catalogue changes what people read."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from tests.conftest import ROOT
from tests.pages import as_, text

_TOKENS = re.compile(
    r"(\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<!--.*?-->|<(?:[^<>{]|\{\{.*?\}\}|\{%.*?%\}|\{)*>)",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z]{2,}")
_SAID = re.compile(
    r'\b(?:aria-label|placeholder|title|alt|data-busy)="([^"{}]*[A-Za-z]{2}[^"{}]*)"'
)
# Ours are those; what allauth brings has its own words, and the style page is for developers.
_LEFT_OUT = ("allauth/", "mfa/", "console/parts/style.html", "console/parts/_python_snippet.html")


def templates() -> list[str]:
    root = ROOT / "templates"
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.html"))
    return [name for name in found if not name.startswith(_LEFT_OUT)]


def unmarked(source: str) -> list[str]:
    """Return the texts of a template that no translator would be shown."""
    found, marked, code = [], False, 0
    for token in _TOKENS.split(source):
        if token.startswith("{%"):
            marked = token.startswith("{% blocktranslate") or (
                marked and not token.startswith("{% endblocktranslate")
            )
        elif token.startswith("<"):
            found += _SAID.findall(token)
            tag = re.match(r"<(/?)(script|style|code)\b", token)
            code += 0 if tag is None else -1 if tag[1] else 1
        elif not token.startswith(("{{", "{#")) and not marked and not code:
            found += [token.strip()] if _WORD.search(re.sub(r"&\w+;", "", token)) else []
    return found


@pytest.mark.parametrize("name", templates())
def test_every_text_of_a_template_is_marked(name: str) -> None:
    assert unmarked((ROOT / "templates" / name).read_text()) == []


def test_the_search_for_unmarked_texts_finds_them() -> None:
    assert unmarked("<p>Hello</p>") == ["Hello"]
    assert unmarked('<a title="Go on" href="x">{% translate "Go" %}</a>') == ["Go on"]
    assert unmarked("{% blocktranslate %}Hello {{ name }}{% endblocktranslate %} you") == ["you"]


def catalogue(folder: Path, words: dict[str, str]) -> None:
    """Write a compiled catalogue (.mo) of these words."""
    head = {"": "Content-Type: text/plain; charset=UTF-8\n"}
    pairs = [(one.encode(), said.encode()) for one, said in sorted({**head, **words}.items())]
    at = 28 + 16 * len(pairs)
    tables: list[list[tuple[int, int]]] = [[], []]
    body = b""
    for place in (0, 1):
        for pair in pairs:
            tables[place].append((len(pair[place]), at + len(body)))
            body += pair[place] + b"\0"
    numbers = [0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0]
    numbers += [number for table in tables for entry in table for number in entry]
    folder.mkdir(parents=True)
    (folder / "django.mo").write_bytes(struct.pack(f"<{len(numbers)}I", *numbers) + body)


def test_a_catalogue_changes_what_people_read(
    client: Client, people: Any, settings: Any, tmp_path: Path
) -> None:
    """Templates, states and the labels of forms: all of them go through the catalogue."""
    words = {
        "Keys": "Ŝlosiloj",
        "Record a key": "Registri",
        "Id at the vendor": "Nomo tie",
        "Valid": "Valida",
    }
    catalogue(tmp_path / "eo" / "LC_MESSAGES", words)
    settings.LOCALE_PATHS = [tmp_path]
    as_(client, people.owner)
    with translation.override("eo"):
        assert "Ŝlosiloj" in text(client.get("/keys/"))
        assert "Registri" in text(client.get("/keys/"))
        assert "Valida" in text(client.get("/style"))
        assert "Nomo tie" in text(client.get("/keys/new/"))
    assert "Ŝlosiloj" not in text(client.get("/keys/"))
