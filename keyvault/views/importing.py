"""Record many keys at once: see what becomes of each row first, then do it. The text is never sent back."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from keyvault import importing, key_files
from keyvault.errors import BadInput, KeyServiceError
from keyvault.forms import offer
from keyvault.importing import Defaults
from keyvault.inventory import visible_accounts, visible_environments
from keyvault.models import Account, Application, Environment, Member
from keyvault.permissions import visible_applications
from keyvault.views.pages import me, page, unstored

# Each row is a call to the vendor: more than this would outlast the request.
MOST_ON_PAGE = 200


class ImportForm(forms.Form):
    """The text, and what counts where a row does not say it."""

    text = forms.CharField(
        strip=False,
        max_length=500_000,
        label=_("CSV or .env"),
        widget=forms.Textarea(
            attrs={"rows": 8, "autocomplete": "off", "spellcheck": "false", "class": "mono"}
        ),
        help_text=_(
            "A CSV with a header line (name, account, environment, application, secret, "
            "vendor_id, expires_at, purpose), or NAME=value lines."
        ),
    )
    account = forms.ModelChoiceField(
        Account.objects.none(),
        required=False,
        empty_label=_("As each row says"),
        label=_("Account"),
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        empty_label=_("As each row says"),
        label=_("Environment"),
    )
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        empty_label=_("As each row says"),
        label=_("Application"),
    )
    unchecked = forms.BooleanField(
        required=False, label=_("Record them even if the vendor cannot be asked now")
    )
    # A long text comes in parts: the number of the line with which this one begins.
    first = forms.IntegerField(
        required=False, min_value=1, max_value=1_000_000, widget=forms.HiddenInput
    )

    def __init__(self, by: Member, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, rows in (
            ("account", visible_accounts(by)),
            ("environment", visible_environments(by)),
            ("application", visible_applications(by)),
        ):
            offer(self, name, rows)

    def defaults(self) -> Defaults:
        """Return what counts where a row does not say it."""
        return Defaults(**{name: self.cleaned_data[name] for name in Defaults.__dataclass_fields__})


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
@page
def many(request: HttpRequest) -> HttpResponse:
    """Show the form; a POST says what becomes of each row, and with `record` does it."""
    if request.method == "GET":
        return _show(request, ImportForm(me(request)))
    form = ImportForm(me(request), request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    really = "record" in request.POST
    try:
        fates = _run(me(request), form, really=really)
    except KeyServiceError as error:
        return _show(request, form, error.message, error.status)
    _number(fates, form.cleaned_data["first"])
    return _show(request, form, fates=fates, really=really)


def _number(fates: list[importing.Fate], first: int | None) -> None:
    """Give the rows of a part the numbers that their lines have in the whole."""
    shift = first - fates[0].line if first and fates else 0
    for fate in fates:
        fate.line += shift


def _run(by: Member, form: ImportForm, *, really: bool) -> list[importing.Fate]:
    said = form.cleaned_data
    if not really:
        return importing.run(by, said["text"], form.defaults(), really=False)
    rows = len(key_files.read(said["text"]))
    if rows > MOST_ON_PAGE:
        raise BadInput(
            _(
                "It has {rows} rows; a page takes {most_on_page}, since the vendor is asked "
                "about each. Nothing was stored. A browser with scripts sends it in parts by "
                "itself; or use `manage.py importkeys`."
            ).format(rows=rows, most_on_page=MOST_ON_PAGE)
        )
    return importing.run(
        by, said["text"], form.defaults(), really=True, unchecked=said["unchecked"]
    )


def _show(
    request: HttpRequest,
    form: ImportForm,
    problem: str = "",
    status: int = 200,
    *,
    fates: list[importing.Fate] | None = None,
    really: bool = False,
) -> HttpResponse:
    if form.is_bound:
        # What was pasted stays in the browser; it is not sent back.
        form.data = {**form.data.dict(), "text": ""}  # type: ignore[attr-defined]
    facts: dict[str, Any] = {
        "form": form,
        "problem": problem,
        "fates": fates,
        "really": really,
        "good": sum(one.state != "bad" for one in fates or []),
        "section": "keys",
    }
    part = "keyvault/_fates.html" if request.headers.get("HX-Request") else "keyvault/import.html"
    # htmx swaps in what came with a success only; what is wrong is in the text.
    shown = 200 if request.headers.get("HX-Request") else status
    return unstored(render(request, part, facts, status=shown))
