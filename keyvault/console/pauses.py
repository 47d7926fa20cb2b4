"""Pauses: nothing rotates by itself for a while; with a reason, an end, and a button to go on."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from keyvault.access.permissions import Permission
from keyvault.console.decorators import current_member, login_required_page
from keyvault.core.errors import BadInput
from keyvault.inventory import keys
from keyvault.models import VendorAccount
from rotation.scheduling import pauses


class PauseForm(forms.Form):
    """Why, until when, and of what."""

    reason = forms.CharField(max_length=300, label="Why")
    days = forms.IntegerField(min_value=1, max_value=90, initial=1, label="For how many days")
    account = forms.ModelChoiceField(
        VendorAccount.objects.all(), required=False, empty_label="Everything", label="What"
    )


class KeyPauseForm(PauseForm):
    """Why and until when, of one key."""

    account = None  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        # Beside other forms that ask for a reason: each input has an id of its own.
        super().__init__(*args, **{"auto_id": "pause_%s", **options})


@require_POST
@login_required_page
def pause_all(request: HttpRequest) -> HttpResponse:
    """Pause an account, or everything."""
    form = PauseForm(request.POST)
    if not form.is_valid():
        raise BadInput("Say why, and for 1 to 90 days. Nothing was changed.")
    said = form.cleaned_data
    ends_at = timezone.now() + timedelta(days=said["days"])
    made = pauses.pause(
        current_member(request), account=said["account"], reason=said["reason"], ends_at=ends_at
    )
    messages.success(
        request,
        f"{str(made).capitalize()}: nothing of it rotates by itself.",
    )
    return redirect("rotations")


@require_POST
@login_required_page
def pause_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Pause one key."""
    key = keys.get_key(current_member(request), key_id, Permission.ROTATE)
    form = KeyPauseForm(request.POST)
    if not form.is_valid():
        raise BadInput("Say why, and for 1 to 90 days. Nothing was changed.")
    ends_at = timezone.now() + timedelta(days=form.cleaned_data["days"])
    pauses.pause(
        current_member(request), key=key, reason=form.cleaned_data["reason"], ends_at=ends_at
    )
    messages.success(request, "Paused: it does not rotate by itself.")
    return redirect("key", key.pk)


@require_POST
@login_required_page
def resume(request: HttpRequest, pause_id: int) -> HttpResponse:
    """End a pause."""
    found = pauses.get_pause(current_member(request), pause_id)
    pauses.resume(current_member(request), found)
    messages.success(request, "It goes on. What became due meanwhile starts now, spread out.")
    return redirect("key", found.key_id) if found.key_id else redirect("rotations")
