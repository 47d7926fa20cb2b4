"""Give and take back a role, the same for a person and for a group."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from keyvault.access import roles
from keyvault.access.permissions import visible_applications
from keyvault.access.roles import Holder
from keyvault.console.decorators import current_member, parse_id, require_recent_auth
from keyvault.console.forms.keys import offer
from keyvault.core.errors import KeyServiceError, NotFound
from keyvault.inventory.catalog import visible_environments
from keyvault.models import Application, Environment, Group, Member, Role

# Renders the holder's page, with what was wrong and the form as it was sent.
Show = Callable[..., HttpResponse]


class RoleForm(forms.Form):
    """Which role, over what, until when."""

    role = forms.ChoiceField(choices=Role.choices, label="Role")
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        empty_label="All applications",
        label="Application",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        empty_label="All environments",
        label="Environment",
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Until",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, by: Member, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        offer(self, "application", visible_applications(by))
        offer(self, "environment", visible_environments(by))


def assign(request: HttpRequest, holder: Holder, show: Show, done: HttpResponse) -> HttpResponse:
    """Give the holder the role that was sent, and answer `done`, or its page with what was wrong."""
    form = RoleForm(current_member(request), request.POST)
    if not form.is_valid():
        return show(request, holder, status=400, role_form=form)
    require_recent_auth(request)
    said = form.cleaned_data
    try:
        roles.assign_role(current_member(request), holder, Role(said.pop("role")), **said)
    except KeyServiceError as error:
        return show(request, holder, error.message, error.status, role_form=form)
    return done


def revoke(request: HttpRequest, holder: Holder, done: HttpResponse) -> HttpResponse:
    """Take back the role that was sent, which must be this holder's own."""
    grant = roles.get_grant(current_member(request), parse_id(request.POST.get("grant")) or 0)
    theirs = grant.group_id if isinstance(holder, Group) else grant.member_id
    if theirs != holder.pk:
        raise NotFound(f"{holder} has no such role.")
    require_recent_auth(request)
    roles.revoke_role(current_member(request), grant)
    messages.success(request, f"{holder} is not {grant} any more.")
    return done
