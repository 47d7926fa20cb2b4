"""Record many keys at once: see what becomes of each row first, then do it. The text is never sent back."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from keyvault.access.permissions import visible_applications
from keyvault.console.decorators import current_member, login_required_page, unstored
from keyvault.console.forms.keys import offer
from keyvault.core.errors import BadInput, KeyServiceError
from keyvault.inventory import bulk_import, import_formats
from keyvault.inventory.bulk_import import Defaults, Fates, Way
from keyvault.inventory.catalog import visible_accounts, visible_environments
from keyvault.models import Application, Environment, Member, VendorAccount

# Each row is a call to the vendor: more than this would outlast the request.
MOST_ON_PAGE = 200
PART = 100


class ImportForm(forms.Form):
    """The text, and what counts where a row does not say it."""

    text = forms.CharField(
        strip=False,
        max_length=200_000,
        label="CSV or .env",
        widget=forms.Textarea(
            attrs={"rows": 8, "autocomplete": "off", "spellcheck": "false", "class": "mono"}
        ),
        help_text=(
            "A CSV with a header line (name, account, environment, application, secret, "
            "vendor_id, expires_at, purpose), or NAME=value lines."
        ),
    )
    account = forms.ModelChoiceField(
        VendorAccount.objects.none(),
        required=False,
        empty_label="As each row says",
        label="Account",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        empty_label="As each row says",
        label="Environment",
    )
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        empty_label="As each row says",
        label="Application",
    )
    unchecked = forms.BooleanField(
        required=False, label="Record them even if the vendor cannot be asked now"
    )
    # A long list is done in parts: the number of the row with which this one begins. The whole
    # text comes each time, since only the whole shows what it is and what stands in it twice.
    start = forms.IntegerField(
        required=False, min_value=0, max_value=bulk_import.MOST, widget=forms.HiddenInput
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
@login_required_page
def many(request: HttpRequest) -> HttpResponse:
    """Show the form; a POST says what becomes of each row, and with `record` does it."""
    if request.method == "GET":
        return _show(request, ImportForm(current_member(request)))
    form = ImportForm(current_member(request), request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    really = "record" in request.POST
    try:
        way = _way(request, form)
        done = bulk_import.run(
            current_member(request), form.cleaned_data["text"], form.defaults(), way
        )
    except KeyServiceError as error:
        return _show(request, form, error.message, error.status)
    return _show(request, form, done=done, really=really)


def _way(request: HttpRequest, form: ImportForm) -> Way:
    """Return what is to be done: a part, or without scripts the whole at once if it is not too much."""
    ticks = frozenset(" ".join(request.POST.getlist("tick")).split())

    def ticked(_line: int, _name: str, tick: str) -> bool:
        return tick in ticks

    said, really = form.cleaned_data, "record" in request.POST
    if said["start"] is not None:
        return Way(really, said["unchecked"], ticked=ticked, start=said["start"], most=PART)
    if really:
        _refuse_many(said["text"])
    return Way(really, said["unchecked"], ticked=ticked)


def _refuse_many(text: str) -> None:
    if len(import_formats.read(text, MOST_ON_PAGE)) > MOST_ON_PAGE:
        raise BadInput(
            f"A page takes {MOST_ON_PAGE} rows, since the vendor is asked about each, and here are "
            "more. Nothing was stored. A browser with scripts sends them in parts by itself; or "
            "use `manage.py importkeys`."
        )


def _show(
    request: HttpRequest,
    form: ImportForm,
    problem: str = "",
    status: int = 200,
    *,
    done: Fates | None = None,
    really: bool = False,
) -> HttpResponse:
    if form.is_bound:
        # What was pasted stays in the browser; it is not sent back.
        # guard: what was pasted is not sent back
        form.data = {**form.data.dict(), "text": ""}  # type: ignore[attr-defined]
    fates = done.rows if done else []
    facts: dict[str, Any] = {
        "form": form,
        "problem": problem,
        "fates": fates,
        "rows": done.of if done else 0,
        "really": really,
        "good": sum(one.good for one in fates),
        "left": sum(one.state == "left" for one in fates),
        "part": PART,
        "section": "keys",
    }
    part = (
        "console/keys/_import_rows.html"
        if request.headers.get("HX-Request")
        else "console/keys/import.html"
    )
    # What is wrong is said in the text, which the page puts in its place.
    shown = 200 if request.headers.get("HX-Request") else status
    return unstored(render(request, part, facts, status=shown))
