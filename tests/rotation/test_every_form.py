"""Every form of the console with empty, long, marked-up, right-to-left and odd text, and sent twice.

The forms are found on the pages themselves, so a new one is walked as soon as a page shows it.
"""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from rotation.models import HumanTask
from tests.end_to_end.test_console import every_page, manual
from tests.factories import make_key
from tests.pages import as_, statements

__all__ = ["manual"]

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
CORPUS = {
    "empty": "",
    "long": "x" * 6000,
    "markup": MARKUP,
    "foreign": "\u202eevil\u2066 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 "
    "\U0001f511\U0001f469\u200d\U0001f4bb \U0001f3f4\U000e0067",
    "odd": "a\x00b\r\nSet-Cookie: x=1 \ud7ff' OR 1=1 --",
}
# Leads away, or ends what the walk needs.
LEFT_OUT = ("/sign-out", "/account/2fa/", "/admin/", "/leave", "/sessions")
FINE = (200, 302, 400, 403, 404, 409, 413, 429)


class Forms(HTMLParser):
    """The forms of a page: where each goes, and its fields by kind with what they begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, tuple[str, str]]]] = []
        self._action: str | None = None
        self._fields: dict[str, tuple[str, str]] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Gather fields of a form that posts."""
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            posts = said.get("method", "").lower() == "post"
            self._action = said.get("action", "") if posts else None
            self._fields = {}
        name = said.get("name")
        if tag == "select":
            self._select = name or ""
            self._fields.setdefault(self._select, ("choice", ""))
        elif tag == "option" and self._select and not self._fields[self._select][1]:
            self._fields[self._select] = ("choice", said.get("value", ""))
        elif tag == "textarea" and name:
            self._fields[name] = ("text", "")
        elif tag in ("input", "button") and name and name != "csrfmiddlewaretoken":
            self._fields.setdefault(name, (_kind(tag, said), said.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        """Close a select or a form."""
        if tag == "select":
            self._select = ""
        if tag == "form" and self._action is not None:
            self.found.append((self._action, dict(self._fields)))
            self._action = None


def _kind(tag: str, said: dict[str, str]) -> str:
    kind = said.get("type", "text")
    if tag == "button" or kind in ("hidden", "submit"):
        return "fixed"
    return "tick" if kind in ("checkbox", "radio") else "file" if kind == "file" else "text"


def forms_of(client: Client, paths: list[str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the forms of all pages by their address, each once."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for path in paths:
        page = Forms()
        page.feed(client.get(path).content.decode())
        for action, fields in page.found:
            where = action or path
            if not any(part in where for part in LEFT_OUT):
                found.setdefault(where, fields)
    return found


def filled(fields: dict[str, tuple[str, str]], text: str) -> dict[str, str]:
    """Return what a person sends who writes this text into every field."""
    sent = {}
    for name, (kind, value) in fields.items():
        if kind == "tick":
            sent[name] = value or "on"
        elif kind != "file":
            sent[name] = text if kind == "text" else value
    return sent


@pytest.fixture
def pages(database: None, vendor: Any, place: Any, people: Any, manual: Any) -> list[str]:
    """Return the pages of an installation in which each has something to show."""
    paths = every_page(people, vendor, place, manual)
    make_key(vendor, place, people.owner, name="one more")
    return [path for path in paths if not path.startswith("/account/2fa")]


def test_no_form_breaks_whatever_is_written_into_it(
    client: Client, people: Any, pages: list[str]
) -> None:
    as_(client, people.owner)
    client.raise_request_exception = False
    forms = forms_of(client, pages)
    assert len(forms) > 40, sorted(forms)
    wrong = []
    for what, text in CORPUS.items():
        for where, fields in forms.items():
            for _ in range(2 if what == "markup" else 1):  # a doubled submit is no harm either
                answer = client.post(where, filled(fields, text))
                if answer.status_code not in FINE:
                    wrong.append(f"{where} with {what}: {answer.status_code}")
                if not answer.streaming and MARKUP in answer.content.decode(errors="replace"):
                    wrong.append(f"{where} with {what} sends markup back")
            as_(client, people.owner)
    assert wrong == []
    shown = {path: client.get(path).content.decode() for path in pages}
    assert [path for path, page in shown.items() if MARKUP in page] == []
    assert [path for path, page in shown.items() if "\u202e" in page] == []
    assert HumanTask.objects.exists()


# How many kinds of rows a page shows, the choices of its forms among them; the others show fewer.
KINDS = {
    re.compile(r"/keys/\d+/"): 18,  # versions, runs, holders, holds, policy with its levels, …
    re.compile(r"/people/\d+/"): 20,  # roles, groups, sessions, and what they could know, by kind
    re.compile(r"/applications/\d+/"): 10,
    re.compile(r".*"): 8,
}
BEYOND = 5


def test_no_page_asks_more_than_it_shows(client: Client, people: Any, pages: list[str]) -> None:
    """Session, person, rights and what else each page asks is five statements at most."""
    as_(client, people.owner)
    for path in pages:
        if client.get(path).status_code != 200:
            continue
        kinds = next(count for form, count in KINDS.items() if form.fullmatch(path))
        taken = statements(client, path)
        assert taken <= kinds + BEYOND, f"{path} takes {taken} statements"
