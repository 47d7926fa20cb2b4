"""Policies above the keys: what the installation, an account, environment or application says."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from keyvault.access.permissions import Permission, may, visible_applications
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.forms.policies import PolicyForm, begin, refreshed
from keyvault.core.errors import KeyServiceError
from keyvault.inventory import catalog
from keyvault.inventory.edit_conflicts import edit_mark
from rotation.models import PolicyScope
from rotation.scheduling import inheritance
from rotation.scheduling.inheritance import Place, resolve, scope_of, values_of

_MOST, _COUNTED = 200, 10_000


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show every level that may say something, and what it says."""
    by, rows = current_member(request), PolicyScope.objects.select_related("account", "environment")
    said = {
        (one.account_id, one.environment_id, one.application_id): one
        for one in rows.select_related("application", "set_by")
    }
    accounts = catalog.visible_accounts(by)[:_MOST]
    environments = catalog.visible_environments(by)[:_MOST]
    applications = visible_applications(by).order_by("name")[:_MOST]
    facts = {
        "whole": said.get((None, None, None)),
        "accounts": [(one, said.get((one.pk, None, None))) for one in accounts],
        "environments": [(one, said.get((None, one.pk, None))) for one in environments],
        "applications": [(one, said.get((None, None, one.pk))) for one in applications],
        "section": "settings",
    }
    return render(request, "console/policies/list.html", facts)


@require_http_methods(["GET", "POST"])
@login_required_page
def level(request: HttpRequest, kind: str, number: int) -> HttpResponse:
    """Show what one level says, or change it for every key below it."""
    place = inheritance.place_of(current_member(request), kind, number)
    above = resolve(_farther(kind))
    if request.method == "GET":
        return _page(request, place, PolicyForm(initial=_begin(place), above=above))
    form = PolicyForm(request.POST, above=above)
    if not form.is_valid():
        return _page(request, place, form, status=400)
    try:
        saved = inheritance.set_scope(
            current_member(request), place, form.wish(), seen=form.cleaned_data["seen"]
        )
    except KeyServiceError as error:
        if error.code == "stale":
            form = refreshed(form, edit_mark(scope_of(place)), above)
        return _page(request, place, form, error.message, error.status)
    when = "at once" if saved.applied_at else "as the worker gets to them, within minutes"
    messages.success(
        request,
        f"The {saved} is saved: {saved.summary}. It reaches its keys {when}.",
    )
    return redirect("policies")


def _begin(place: Place) -> dict[str, Any]:
    found = scope_of(place)
    return begin(found, edit_mark(found))


def _farther(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what stands above every level of a kind: the installation, for all but itself."""
    whole = None if kind == "installation" else scope_of(None)
    return [(whole.place, values_of(whole))] if whole else []


def _page(
    request: HttpRequest, place: Place, form: PolicyForm, problem: str = "", status: int = 200
) -> HttpResponse:
    found = scope_of(place) or PolicyScope(**inheritance.scope_columns(place))
    facts = {
        "level": found,
        "keys": inheritance.keys_below(found).order_by()[:_COUNTED].count(),
        "form": form,
        "can": may(current_member(request), Permission.MANAGE, place),
        "problem": problem,
        "section": "settings",
    }
    return render(request, "console/policies/detail.html", facts, status=status)
