"""Groups: people who have roles together."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from keyvault.access import groups, members
from keyvault.access.permissions import Permission, may
from keyvault.console import role_forms
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.models import Group, Member


class JoinForm(forms.Form):
    """Who joins."""

    member = forms.ModelChoiceField(Member.objects.none(), label="Who joins")

    def __init__(self, group: Group, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["member"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = (
            Member.objects.filter(is_active=True).exclude(teams=group).order_by("email")
        )


@require_POST
@login_required_page
def add(request: HttpRequest) -> HttpResponse:
    """Add a group."""
    require_recent_auth(request)
    made = groups.add_group(current_member(request), request.POST.get("name", ""))
    return redirect("group", made.pk)


@require_GET
@login_required_page
def show(request: HttpRequest, group_id: int) -> HttpResponse:
    """Show who is in it and which roles that gives."""
    return _page(request, groups.get_group(current_member(request), group_id))


@require_POST
@login_required_page
def add_member(request: HttpRequest, group_id: int) -> HttpResponse:
    """Put somebody in."""
    group = groups.get_group(current_member(request), group_id)
    form = JoinForm(group, request.POST)
    if not form.is_valid():
        return _page(request, group, status=400, join_form=form)
    require_recent_auth(request)
    member = form.cleaned_data["member"]
    groups.add_to_group(current_member(request), group, member)
    messages.success(request, f"{member} is in {group} now.")
    return redirect("group", group.pk)


@require_POST
@login_required_page
def remove_member(request: HttpRequest, group_id: int) -> HttpResponse:
    """Take somebody out."""
    group = groups.get_group(current_member(request), group_id)
    member = members.get_member(current_member(request), parse_id(request.POST.get("member")) or 0)
    require_recent_auth(request)
    groups.remove_from_group(current_member(request), group, member)
    messages.success(request, f"{member} is not in {group} any more.")
    return redirect("group", group.pk)


@require_POST
@login_required_page
def assign_role(request: HttpRequest, group_id: int) -> HttpResponse:
    """Give the group a role."""
    group = groups.get_group(current_member(request), group_id)
    return role_forms.assign(request, group, _page, redirect("group", group.pk))


@require_POST
@login_required_page
def revoke_role(request: HttpRequest, group_id: int) -> HttpResponse:
    """Take a role back from the group."""
    group = groups.get_group(current_member(request), group_id)
    return role_forms.revoke(request, group, redirect("group", group.pk))


@require_POST
@login_required_page
def delete(request: HttpRequest, group_id: int) -> HttpResponse:
    """Remove the group with its roles."""
    group = groups.get_group(current_member(request), group_id)
    require_recent_auth(request)
    name = str(group)
    groups.delete_group(current_member(request), group)
    messages.success(request, f"The group {name} is gone, and the roles that it gave.")
    return redirect("people")


def _page(
    request: HttpRequest, group: Group, problem: str = "", status: int = 200, **changed: forms.Form
) -> HttpResponse:
    can = (
        may(current_member(request), Permission.MANAGE)
        and not group.members.filter(pk=current_member(request).pk).exists()
    )
    facts: dict[str, Any] = {
        "group": group,
        "members": group.members.order_by("email"),
        "grants": group.grants.select_related("application", "environment"),
        "can": can,
        "problem": problem,
        "role_form": role_forms.RoleForm(current_member(request)),
        "join_form": JoinForm(group),
        "section": "people",
        **changed,
    }
    return render(request, "console/people/group.html", facts, status=status)
