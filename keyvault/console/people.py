"""People: who may do what, and what must happen when one of them leaves."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from keyvault.access import groups, invitations, members, roles, sessions
from keyvault.access.permissions import Permission, grants_with, may
from keyvault.console import role_forms
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.console.forms.keys import offer
from keyvault.console.one_time_page import hand_over
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import BadInput, Denied, KeyServiceError
from keyvault.models import Member
from rotation.campaigns import offboarding, reinstatement


class InviteForm(forms.Form):
    """Whom to invite."""

    email = forms.CharField(max_length=254, label="E-mail")
    name = forms.CharField(max_length=100, required=False, label="Name")


class LeaveForm(forms.Form):
    """Who takes over, how long tokens go on, and the name as a confirmation."""

    heir = forms.ModelChoiceField(Member.objects.none(), label="Who gets their keys")
    token_hours = forms.TypedChoiceField(
        coerce=int,
        choices=[(0, "end at once"), (24, "end in 24 hours"), (72, "end in three days")],
        label="Service tokens they made",
    )
    email = forms.CharField(max_length=254, label="Their e-mail address, to confirm")

    def __init__(self, member: Member, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        offer(self, "heir", Member.objects.filter(is_active=True).exclude(pk=member.pk))


@require_http_methods(["GET", "POST"])
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """List people; a POST invites one and shows the link this once."""
    _require_any_owner(current_member(request))
    form = InviteForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        require_recent_auth(request)
        said = form.cleaned_data
        try:
            member, link = invitations.invite(
                current_member(request), said["email"], name=said["name"]
            )
        except KeyServiceError as error:
            return _list(request, form, error.message, error.status)
        return _show_link(request, member, link.reveal())
    return _list(request, form, status=400 if form.is_bound else 200)


@require_GET
@login_required_page
def show(request: HttpRequest, member_id: int) -> HttpResponse:
    """Show roles, sessions, and what the person could reach since each key's last rotation."""
    return _person(request, _member(request, member_id))


@require_POST
@login_required_page
def assign_role(request: HttpRequest, member_id: int) -> HttpResponse:
    """Give the person a role."""
    member = _member(request, member_id)
    return role_forms.assign(request, member, _person, redirect("person", member.pk))


@require_POST
@login_required_page
def revoke_role(request: HttpRequest, member_id: int) -> HttpResponse:
    """Take a role back."""
    member = _member(request, member_id)
    return role_forms.revoke(request, member, redirect("person", member.pk))


@require_POST
@login_required_page
def end_sessions(request: HttpRequest, member_id: int) -> HttpResponse:
    """Sign the person out everywhere."""
    member = _member(request, member_id)
    ended = members.end_sessions(current_member(request), member)
    messages.success(request, f"{ended} sessions ended.")
    return redirect("person", member.pk)


@require_POST
@login_required_page
def invite_again(request: HttpRequest, member_id: int) -> HttpResponse:
    """Set back how the person signs in, and show the new link this once."""
    member = _member(request, member_id)
    require_recent_auth(request)
    return _show_link(
        request, member, invitations.invite_again(current_member(request), member).reveal()
    )


@require_POST
@login_required_page
def come_back(request: HttpRequest, member_id: int) -> HttpResponse:
    """Let somebody who left come back, and show the link by which they do, this once."""
    member = _member(request, member_id)
    require_recent_auth(request)
    try:
        link = reinstatement.let_come_back(current_member(request), member)
    except KeyServiceError as error:
        return _person(request, member, error.message, error.status)
    return _show_link(request, member, link.reveal())


@require_POST
@login_required_page
def off_board(request: HttpRequest, member_id: int) -> HttpResponse:
    """Take everything back, once the address was typed."""
    member = _member(request, member_id)
    form = LeaveForm(member, request.POST, prefix="leave")
    if not form.is_valid():
        return _person(request, member, status=400, leave_form=form)
    said = form.cleaned_data
    require_recent_auth(request)
    try:
        if said["email"].strip().lower() != member.email.lower():
            raise BadInput("That is not their address. Nothing was changed.")
        done = offboarding.off_board(
            current_member(request), member, heir=said["heir"], token_hours=said["token_hours"]
        )
    except KeyServiceError as error:
        return _person(request, member, error.message, error.status, leave_form=form)
    messages.success(
        request,
        f"{member} is out; {len(done.plan.exposures)} keys are rotated.",
    )
    return (
        redirect("campaign", done.campaign.pk) if done.campaign else redirect("person", member.pk)
    )


def _member(request: HttpRequest, member_id: int) -> Member:
    _require_any_owner(current_member(request))
    return members.get_member(current_member(request), member_id)


def _require_any_owner(by: Member) -> None:
    if not (grants_with(by, Permission.MANAGE).exists() or may(by, Permission.READ_AUDIT)):
        raise Denied("Only owners and auditors may look at people.")


def _show_link(request: HttpRequest, member: Member, link: str) -> HttpResponse:
    facts = {"who": str(member), "member": {"pk": member.pk}, "link": link, "section": "people"}
    return hand_over(request, "console/people/invited.html", facts)


def _list(
    request: HttpRequest, form: InviteForm, problem: str = "", status: int = 200
) -> HttpResponse:
    rows, after = newest_first(
        members.visible_members(current_member(request)).prefetch_related(
            "teams", "grants__application"
        ),
        parse_id(request.GET.get("after")),
    )
    facts = {
        "rows": rows,
        "next": next_link(request, after),
        "form": form,
        "problem": problem,
        "can": may(current_member(request), Permission.MANAGE),
        "sees_groups": may(current_member(request), Permission.MANAGE)
        or may(current_member(request), Permission.READ_AUDIT),
        "groups": groups.visible_groups(current_member(request)).prefetch_related("members"),
        "section": "people",
    }
    return render(request, "console/people/list.html", facts, status=status)


def _person(
    request: HttpRequest,
    member: Member,
    problem: str = "",
    status: int = 200,
    **changed: forms.Form,
) -> HttpResponse:
    by = current_member(request)
    known = roles.visible_grants(by).filter(member=member)
    whole = may(by, Permission.MANAGE)
    facts: dict[str, Any] = {
        "member": member,
        "grants": known.select_related("application", "environment"),
        "groups": members.groups_of(member),
        "sessions": sessions.live(member)[:20] if whole else [],
        "plan": offboarding.plan(by, member) if whole and not member.left_at else None,
        "can": whole and by.pk != member.pk and member.is_active,
        "can_let_back": whole and not member.is_active,
        "can_give": by.pk != member.pk and member.is_active,
        "problem": problem,
        "role_form": role_forms.RoleForm(by),
        "leave_form": LeaveForm(member, prefix="leave", initial={"heir": by.pk}),
        "section": "people",
        **changed,
    }
    return render(request, "console/people/detail.html", facts, status=status)
