"""Holds on a key: keep every version of it, with a reason, until a day or until it is lifted."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from keyvault.access.approvals import NeedsApproval
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    require_recent_auth,
    text_of,
)
from keyvault.core.errors import BadInput
from keyvault.inventory import keys
from rotation.engine import holds


class HoldForm(forms.Form):
    """Why, and until when."""

    reason = forms.CharField(
        max_length=500, label="Why", help_text="For example a case number; it is on record."
    )
    ends_at = forms.DateTimeField(
        required=False,
        label="Until",
        help_text="Empty: until it is lifted. Such as 2027-03-31 18:00.",
    )


@require_POST
@login_required_page
def place(request: HttpRequest, key_id: int) -> HttpResponse:
    """Set a hold."""
    key = keys.get_key(current_member(request), key_id)
    form = HoldForm(request.POST, prefix="hold")
    if not form.is_valid():
        raise BadInput("Say why, and a day in the future or none. No hold was set.")
    said = form.cleaned_data
    placed = holds.place(current_member(request), key, said["reason"], said["ends_at"])
    for version in placed.late:
        messages.warning(request, late(version.number))
    messages.success(request, "On hold: no version of it is ended or destroyed.")
    return redirect("key", key.pk)


def late(number: int) -> str:
    """Return what to tell of a version whose end had begun before the hold was set."""
    said = "Version {number} was being ended already; it may be dead at the vendor. Check it."
    return str(said).format(number=number)


@require_POST
@login_required_page
def lift(request: HttpRequest, hold_id: int) -> HttpResponse:
    """Lift a hold, once a second person agreed."""
    hold = holds.get_hold(current_member(request), hold_id)
    require_recent_auth(request)
    try:
        holds.lift(current_member(request), hold, text_of(request.POST, "reason", 500))
    except NeedsApproval as error:
        messages.info(request, error.message)
        return redirect("approvals")
    messages.success(request, "The hold is lifted; what waited for it goes on.")
    return redirect("key", hold.key_id)
