"""Come in by an invitation: the code stands after the `#` of the link, where no server sees it."""

from allauth.account.adapter import get_adapter
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from keyvault.access import invitations
from keyvault.core.errors import KeyServiceError


class JoinForm(forms.Form):
    """The code, a name and a password."""

    code = forms.CharField(
        max_length=80,
        label="Invitation code",
        widget=forms.TextInput(attrs={"autocomplete": "off", "data-from-hash": ""}),
        help_text="What follows the # in your link.",
    )
    name = forms.CharField(max_length=100, required=False, label="Your name")
    password = forms.CharField(
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="At least 15 characters: four or five words that have nothing to do with each other.",
        label="Password",
    )


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """Ask for a password, and sign the person in."""
    form = JoinForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        return _page(request, form, 400 if form.is_bound else 200)
    said = form.cleaned_data
    try:
        member = invitations.accept_invitation(said["code"], said["password"], name=said["name"])
    except KeyServiceError as error:
        return _page(request, form, error.status, error.message)
    try:
        get_adapter(request).login(request, member)
    except KeyServiceError as error:
        return _page(request, form, error.status, f"{error.message} Your password is set.")
    return redirect("home")


def _page(request: HttpRequest, form: JoinForm, status: int, problem: str = "") -> HttpResponse:
    return render(
        request,
        "console/access/accept_invitation.html",
        {"form": form, "problem": problem},
        status=status,
    )
