"""Groups: people who have roles together."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from keyvault.access import groups, members
from keyvault.access.permissions import Verb, may
from keyvault.console import role_forms
from keyvault.console.decorators import me, number, page, prove
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
@page
def add(request: HttpRequest) -> HttpResponse:
    """Add a group."""
    prove(request)
    made = groups.add_group(me(request), request.POST.get("name", ""))
    return redirect("group", made.pk)


@require_GET
@page
def show(request: HttpRequest, group_id: int) -> HttpResponse:
    """Show who is in it and which roles that gives."""
    return _page(request, groups.get_group(me(request), group_id))


@require_POST
@page
def join(request: HttpRequest, group_id: int) -> HttpResponse:
    """Put somebody in."""
    group = groups.get_group(me(request), group_id)
    form = JoinForm(group, request.POST)
    if not form.is_valid():
        return _page(request, group, status=400, join_form=form)
    prove(request)
    member = form.cleaned_data["member"]
    groups.join_group(me(request), group, member)
    messages.success(request, f"{member} is in {group} now.")
    return redirect("group", group.pk)


@require_POST
@page
def leave(request: HttpRequest, group_id: int) -> HttpResponse:
    """Take somebody out."""
    group = groups.get_group(me(request), group_id)
    member = members.get_member(me(request), number(request.POST.get("member")) or 0)
    prove(request)
    groups.leave_group(me(request), group, member)
    messages.success(request, f"{member} is not in {group} any more.")
    return redirect("group", group.pk)


@require_POST
@page
def give(request: HttpRequest, group_id: int) -> HttpResponse:
    """Give the group a role."""
    group = groups.get_group(me(request), group_id)
    return role_forms.give(request, group, _page, redirect("group", group.pk))


@require_POST
@page
def take(request: HttpRequest, group_id: int) -> HttpResponse:
    """Take a role back from the group."""
    group = groups.get_group(me(request), group_id)
    return role_forms.take(request, group, redirect("group", group.pk))


@require_POST
@page
def drop(request: HttpRequest, group_id: int) -> HttpResponse:
    """Remove the group with its roles."""
    group = groups.get_group(me(request), group_id)
    prove(request)
    name = str(group)
    groups.drop_group(me(request), group)
    messages.success(request, f"The group {name} is gone, and the roles that it gave.")
    return redirect("people")


def _page(
    request: HttpRequest, group: Group, problem: str = "", status: int = 200, **changed: forms.Form
) -> HttpResponse:
    can = may(me(request), Verb.MANAGE) and not group.members.filter(pk=me(request).pk).exists()
    facts: dict[str, Any] = {
        "group": group,
        "members": group.members.order_by("email"),
        "grants": group.grants.select_related("application", "environment"),
        "can": can,
        "problem": problem,
        "role_form": role_forms.RoleForm(me(request)),
        "join_form": JoinForm(group),
        "section": "people",
        **changed,
    }
    return render(request, "console/people/group.html", facts, status=status)
