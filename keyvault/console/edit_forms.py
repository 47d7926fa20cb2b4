"""Forms that change something: what they begin with, and what they become when it changed meanwhile."""

from typing import Any, TypeVar

from django.db.models import Model

from keyvault.console.forms.keys import SeenForm
from keyvault.core.errors import KeyServiceError
from keyvault.inventory.edit_conflicts import edit_mark

Form = TypeVar("Form", bound=SeenForm)


def shown(row: Model, form: type[SeenForm]) -> dict[str, Any]:
    """Return what a form about the row begins with, and the mark of what it shows."""
    names = [name for name in form.base_fields if name != "seen"]
    return {**{name: getattr(row, name) for name in names}, "seen": edit_mark(row)}


def without_mark(form: SeenForm) -> dict[str, Any]:
    """Return what was said, as the doors take it."""
    return {name: value for name, value in form.cleaned_data.items() if name != "seen"}


def refreshed(form: Form, error: KeyServiceError, row: Model) -> Form:
    """Return the form as it was sent; after somebody else's change, saving again replaces that."""
    if error.code != "stale":
        return form
    return type(form)({**form.data.dict(), "seen": edit_mark(row)})  # type: ignore[attr-defined]
