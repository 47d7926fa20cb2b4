"""What a person can do to a key from its page. Every act is a POST, and doubles are harmless."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from keyvault.access.approvals import NeedsApproval
from keyvault.access.permissions import Permission
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    require_recent_auth,
    text_of,
    unstored,
)
from keyvault.console.forms.keys import RevealForm
from keyvault.console.forms.policies import PolicyForm, refreshed
from keyvault.console.forms.rotations import PasteForm, RotateForm
from keyvault.console.key import render_key
from keyvault.core.errors import KeyServiceError
from keyvault.inventory import export_formats, keys
from keyvault.inventory import reveal as revealing
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.inventory.reveal import Wish
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.vendors.base import REFUSED, VALID
from rotation.engine import lifecycle, retirement
from rotation.engine.manual_keys import add_standby
from rotation.models import Reason
from rotation.scheduling import inheritance
from rotation.scheduling.policies import set_policy

_CHECK_TONES = {VALID: messages.SUCCESS, REFUSED: messages.ERROR}


@require_POST
@login_required_page
def rotate(request: HttpRequest, key_id: int) -> HttpResponse:
    """Start a rotation, or lead to the one that runs already."""
    key = keys.get_key(current_member(request), key_id, Permission.ROTATE)
    form = RotateForm(request.POST)
    if not form.is_valid():
        return render_key(request, key, status=400, rotate_form=form)
    try:
        said = form.cleaned_data
        rotation, new = lifecycle.start(
            current_member(request),
            key,
            Reason(said["reason"]),
            accept_outage=said["accept_outage"],
        )
    except KeyServiceError as error:
        return render_key(request, key, problem=error.message, status=error.status)
    if not new:
        messages.info(request, "A rotation of this key was running already; this is it.")
    return redirect("rotation", rotation.pk)


@require_POST
@login_required_page
def retire(request: HttpRequest, key_id: int) -> HttpResponse:
    """Begin to retire a key that nobody needs any more."""
    key = keys.get_key(current_member(request), key_id)
    require_recent_auth(request)
    try:
        rotation = retirement.retire(
            current_member(request), key, text_of(request.POST, "reason", 500)
        )
    except NeedsApproval as error:
        messages.info(request, error.message)
        return redirect("approvals")
    except KeyServiceError as error:
        return render_key(request, key, problem=error.message, status=error.status)
    return redirect("rotation", rotation.pk)


@sensitive_post_parameters()
@require_POST
@login_required_page
def standby(request: HttpRequest, key_id: int) -> HttpResponse:
    """Keep a key that was made ahead of time."""
    key = keys.get_key(current_member(request), key_id, Permission.PASTE)
    form = PasteForm(request.POST, prefix="standby")
    if not form.is_valid():
        return render_key(request, key, status=400, standby_form=form)
    said = form.cleaned_data
    try:
        added = add_standby(current_member(request), key, said["secret"], as_it_is=said["as_it_is"])
    except KeyServiceError as error:
        form.hear(error)
        return render_key(
            request, key, problem=error.message, status=error.status, standby_form=form
        )
    for note in [f"Kept as standby, version {added.version.number}.", *added.notes]:
        messages.success(request, note)
    return redirect("key", key.pk)


@require_POST
@login_required_page
def check(request: HttpRequest, key_id: int) -> HttpResponse:
    """Ask the vendor about the current secret and say what it answered."""
    key = keys.get_key(current_member(request), key_id)
    try:
        verdict = keys.check_key(current_member(request), key)
    except KeyServiceError as error:
        return render_key(request, key, problem=error.message, status=error.status)
    messages.add_message(request, _CHECK_TONES.get(verdict.answer, messages.WARNING), verdict.text)
    return redirect("key", key.pk)


@require_POST
@login_required_page
def policy(request: HttpRequest, key_id: int) -> HttpResponse:
    """Set when the key rotates by itself, or let it follow the levels above it again."""
    key = keys.get_key(current_member(request), key_id, Permission.ROTATE)
    if request.POST.get("follow"):
        inheritance.clear_overrides(current_member(request), key)
        messages.success(request, "It follows the levels above it in everything.")
        return redirect("key", key.pk)
    form = PolicyForm(request.POST, above=inheritance.explain(key, None))
    if not form.is_valid():
        return render_key(request, key, status=400, policy_form=form)
    try:
        saved = set_policy(current_member(request), key, form.wish(), form.cleaned_data["seen"])
    except KeyServiceError as error:
        if error.code == "stale":
            form = refreshed(form, edit_mark(key), inheritance.explain(key, None))
        return render_key(
            request, key, problem=error.message, status=error.status, policy_form=form
        )
    word = f"Rotates {saved}." if saved.enabled else "The policy is kept but switched off."
    messages.success(request, word)
    return redirect("key", key.pk)


@sensitive_post_parameters()
@require_POST
@login_required_page
def reveal(request: HttpRequest, key_id: int) -> HttpResponse:
    """Show the secret once, in this answer only, to a person who proves again who they are."""
    key = keys.get_key(current_member(request), key_id)
    form = RevealForm(request.POST, prefix="reveal")
    if not form.is_valid():
        return render_key(request, key, status=400, reveal_form=form)
    require_recent_auth(request)
    said = form.cleaned_data
    try:
        wish = Wish(said["reason"], proved=True, break_glass=said["break_glass"])
        secret = revealing.reveal(current_member(request), key, wish)
    except NeedsApproval as error:
        messages.info(request, error.message)
        return redirect("approvals")
    except KeyServiceError as error:
        return render_key(
            request, key, problem=error.message, status=error.status, reveal_form=form
        )
    name = provider_of(key.account).environment_variable
    formats = export_formats.lines(name, secret.reveal())
    facts = {"key": key, "secret": secret.reveal(), "formats": formats, "section": "keys"}
    return unstored(render(request, "console/keys/revealed.html", facts))
