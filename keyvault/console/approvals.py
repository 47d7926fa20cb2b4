"""Requests for a second person: what exactly is asked, by whom, and the two buttons."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from keyvault.access import approvals
from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import BadInput
from keyvault.models import Approval, ApprovalRule, Environment, Member
from keyvault.models.approvals import ApprovalAction


class RuleForm(forms.Form):
    """For which act, and where, a second person is asked."""

    act = forms.ChoiceField(
        choices=[
            (one.value, one.label)
            for one in ApprovalAction
            if one not in (ApprovalAction.RULE, ApprovalAction.REVEAL)
        ],
        label="Act",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="All environments",
        label="Environment",
    )


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show what waits for a second person, what was settled, and which acts need one."""
    rows, after = newest_first(
        approvals.visible_approvals(current_member(request)), parse_id(request.GET.get("after"))
    )
    allowed = may(current_member(request), Permission.MANAGE) or may(
        current_member(request), Permission.READ_AUDIT
    )
    facts = {
        "rows": [_row(current_member(request), one) for one in rows],
        "next": next_link(request, after),
        "rules": ApprovalRule.objects.select_related("environment") if allowed else [],
        "may_look": allowed,
        "can_rule": may(current_member(request), Permission.MANAGE),
        "rule_form": RuleForm(),
        "section": "approvals",
    }
    return render(request, "console/access/approvals.html", facts)


@require_POST
@login_required_page
def decide(request: HttpRequest, approval_id: int) -> HttpResponse:
    """Agree or refuse, after proving again who one is."""
    approval = approvals.get_approval(current_member(request), approval_id)
    said = request.POST.get("granted")
    if said not in ("yes", "no"):
        raise BadInput("Agree or refuse. Nothing was changed.")
    require_recent_auth(request)
    approvals.decide(current_member(request), approval, granted=said == "yes")
    word = f"{approval.asked_by} may do it now, once." if said == "yes" else "Refused."
    messages.success(request, word)
    return redirect("approvals")


@require_POST
@login_required_page
def add_rule(request: HttpRequest) -> HttpResponse:
    """Put an act under a second pair of eyes."""
    form = RuleForm(request.POST)
    if not form.is_valid():
        raise BadInput("Choose an act, and an environment or all. Nothing was changed.")
    require_recent_auth(request)
    act, environment = ApprovalAction(form.cleaned_data["act"]), form.cleaned_data["environment"]
    rule = approvals.add_rule(current_member(request), act, environment)
    messages.success(request, f"From now on a second person is asked: {rule}.")
    return redirect("approvals")


@require_POST
@login_required_page
def remove_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Take a rule back, once another owner has agreed."""
    rule = approvals.get_rule(current_member(request), rule_id)
    require_recent_auth(request)
    approvals.remove_rule(current_member(request), rule)
    messages.success(request, "Nobody is asked for that any more.")
    return redirect("approvals")


def _row(member: Member, approval: Approval) -> dict[str, Any]:
    now = timezone.now()
    mine, usable = approval.asked_by_id == member.pk, approval.expires_at > now
    ready = mine and approval.granted and approval.used_at is None and usable
    reveal = approval.act == ApprovalAction.REVEAL and ready
    return {
        "it": approval,
        "state": _state(approval, usable),
        "can": approval.granted is None and usable and approvals.may_decide(member, approval),
        "ready": ready,
        "reason": json.loads(approval.parameters)["reason"] if reveal else "",
    }


def _state(approval: Approval, usable: bool) -> tuple[str, str]:
    if approval.used_at:
        return "done", "Done"
    if approval.lapsed_at or (approval.granted is None and not approval.asked_by.is_active):
        return "cancelled", "Lapsed"
    if approval.granted is False and approval.decided_by_id:
        return "refused", "Refused"
    if approval.granted is False or not usable:
        return "cancelled", "Ran out"
    return ("ok", "Agreed") if approval.granted else ("person", "Waits")
