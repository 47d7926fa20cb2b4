"""Texts that the code itself says to people are marked for translation, as those of templates are."""

import ast
from collections.abc import Iterator
from typing import Any

import keyvault.forms
import pytest
from django import forms
from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

import keyvault.urls  # loads each page, and with it each form
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput
from tests.conftest import ROOT

_ERRORS = {"BadInput", "Conflict", "NotFound", "Denied", "NeedsApproval", "Unavailable"}
_SAYS = {"success", "error", "info", "warning"}
# Names of acts in the audit log are for programs, and mean the same in every language; the kinds of
# saved lists and what a call at a vendor has come to stand on no page.
_PLAIN = (Action,)
_INNER = ("rotation.models.Intent", "rotation.models.onboarding")


def sources() -> list[str]:
    found = [path for app in ("keyvault", "rotation") for path in (ROOT / app).rglob("*.py")]
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if "migrations" not in path.parts
    )


def said(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield what a door's error or a page's message is made of."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id in _ERRORS:
            yield from call.args[:1]
        elif (
            isinstance(call.func, ast.Attribute)
            and call.func.attr in _SAYS
            and ast.unparse(call.func.value) == "messages"
        ):
            yield from call.args[1:2]


def plain(expression: ast.expr) -> list[str]:
    """Return the texts of an expression that no translator would be shown."""
    match expression:
        case ast.Constant(value=str(text)):
            return [text] if any(sign.isalpha() for sign in text) else []
        case ast.JoinedStr(values=values):
            return [found for value in values for found in plain(value)]
        case ast.IfExp(body=body, orelse=other) | ast.BinOp(left=body, right=other):
            return plain(body) + plain(other)
        case ast.Call(func=ast.Attribute(value=of)):
            return plain(of)
    return []


def unmarked(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [text for expression in said(tree) for text in plain(expression)]
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = {one.id for one in said(function) if isinstance(one, ast.Name)}
        for step in (node for node in ast.walk(function) if isinstance(node, ast.Assign)):
            if names & {target.id for target in step.targets if isinstance(target, ast.Name)}:
                found += plain(step.value)
    return found


@pytest.mark.parametrize("name", sources())
def test_what_an_error_or_a_message_says_is_marked(name: str) -> None:
    assert unmarked((ROOT / name).read_text()) == []


def test_the_search_finds_texts_that_are_not_marked() -> None:
    assert unmarked("raise Conflict('Too late.')") == ["Too late."]
    assert unmarked("messages.info(request, f'{who} is out.')") == [" is out."]
    assert unmarked("def f():\n word = 'Gone' if x else _('Here')\n raise NotFound(word)") == [
        "Gone"
    ]
    assert unmarked("raise Denied('Not {x}'.format(x=1))") == ["Not {x}"]
    assert unmarked("raise Denied(_('Not {x}').format(x='b'))") == []


def below(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


def ours(kind: Any) -> list[Any]:
    return [one for one in below(kind) if one.__module__.startswith(("keyvault", "rotation"))]


def test_every_label_of_a_form_is_marked() -> None:
    assert keyvault.urls
    assert keyvault.forms.RegisterForm in ours(forms.BaseForm)
    for form in ours(forms.BaseForm):
        for name, field in form.base_fields.items():
            if not field.widget.is_hidden:
                assert isinstance(field.label, Promise), f"{form.__name__}.{name}"


def test_every_word_for_a_state_or_a_kind_is_marked() -> None:
    classes = [one for one in ours(TextChoices) if one not in _PLAIN]
    for choices in classes:
        place = f"{choices.__module__}.{choices.__qualname__}"
        for member in choices:
            assert isinstance(member._label_, Promise) or place.startswith(_INNER)


def test_an_error_is_told_in_the_language_of_its_moment() -> None:
    error = BadInput(gettext_lazy("Refused."))
    assert type(error.message) is str
    assert str(error) == error.message == "Refused."
