"""Record a key that exists at the vendor already."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.forms.keys import RegisterForm
from keyvault.core.errors import KeyServiceError
from keyvault.inventory import keys


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
@login_required_page
def new(request: HttpRequest) -> HttpResponse:
    """Show the form, or record what it says; what went wrong is said above the form."""
    if request.method == "GET":
        return _show(request, RegisterForm(current_member(request)))
    form = RegisterForm(current_member(request), request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    try:
        said = form.cleaned_data
        added = keys.register_key(
            current_member(request),
            form.new_key(),
            said["secret"],
            unchecked=said["unchecked"],
            as_it_is=said["as_it_is"],
        )
    except KeyServiceError as error:
        form.hear(error)
        return _show(request, form, error.message, error.status)
    for note in [f"Recorded. {added.verdict.text}", *added.notes]:
        messages.success(request, note)
    return redirect("key", added.version.key_id)


def _show(
    request: HttpRequest, form: RegisterForm, problem: str = "", status: int = 200
) -> HttpResponse:
    facts = {"form": form, "problem": problem, "section": "keys"}
    return render(request, "console/keys/new.html", facts, status=status)
