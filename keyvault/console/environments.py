"""Environments: what there is, how they are ordered, and which of them is production."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.edit_forms import refreshed, shown, without_mark
from keyvault.console.forms.keys import EnvironmentForm
from keyvault.core.errors import KeyServiceError
from keyvault.inventory import catalog
from keyvault.models import Environment


@require_http_methods(["GET", "POST"])
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the environments, or add one."""
    if request.method == "GET":
        return _list(request, EnvironmentForm())
    form = EnvironmentForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    try:
        added = catalog.add_environment(current_member(request), **without_mark(form))
    except KeyServiceError as error:
        return _list(request, form, error.message, error.status)
    messages.success(request, f"{added.name} was added.")
    return redirect("environments")


@require_http_methods(["GET", "POST"])
@login_required_page
def change(request: HttpRequest, environment_id: int) -> HttpResponse:
    """Show one environment's form, or store what it says."""
    environment = catalog.get_environment(current_member(request), environment_id)
    if request.method == "GET":
        return _one(
            request, environment, EnvironmentForm(initial=shown(environment, EnvironmentForm))
        )
    form = EnvironmentForm(request.POST)
    if not form.is_valid():
        return _one(request, environment, form, status=400)
    try:
        catalog.change_environment(
            current_member(request), environment, form.cleaned_data["seen"], **without_mark(form)
        )
    except KeyServiceError as error:
        form = refreshed(form, error, environment)
        return _one(request, environment, form, error.message, error.status)
    messages.success(request, "The change is stored.")
    return redirect("environments")


def _list(
    request: HttpRequest, form: EnvironmentForm, problem: str = "", status: int = 200
) -> HttpResponse:
    facts = {
        "rows": catalog.visible_environments(current_member(request))[:_MOST],
        "form": form,
        "problem": problem,
        "can_add": may(current_member(request), Permission.MANAGE),
        "section": "settings",
    }
    return render(request, "console/applications/environments.html", facts, status=status)


def _one(
    request: HttpRequest,
    environment: Environment,
    form: EnvironmentForm,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    facts = {
        "environment": environment,
        "form": form,
        "problem": problem,
        "can": may(current_member(request), Permission.MANAGE),
        "section": "settings",
    }
    return render(request, "console/applications/environment.html", facts, status=status)


_MOST = 200
