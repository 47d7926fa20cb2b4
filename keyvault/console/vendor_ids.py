"""The id of a version at the vendor, corrected or taken away on the key's page."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from keyvault.access.permissions import Permission
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.forms.rotations import VendorIdForm
from keyvault.console.key import render_key
from keyvault.core.errors import BadInput, KeyServiceError
from keyvault.inventory import keys
from rotation.engine import vendor_ids


@require_POST
@login_required_page
def correct(request: HttpRequest, key_id: int) -> HttpResponse:
    """Correct the id, or take it away."""
    key = keys.get_key(current_member(request), key_id, Permission.MANAGE)
    form = VendorIdForm(list(key.versions.all()[:30]), request.POST)
    if not form.is_valid():
        raise BadInput("Choose a version, and give an id or none. Nothing was changed.")
    said = form.cleaned_data
    try:
        changed = vendor_ids.correct(
            current_member(request), key, said["number"], said["vendor_id"]
        )
    except KeyServiceError as error:
        return render_key(request, key, problem=error.message, status=error.status, id_form=form)
    word = (
        "The id of version {number} is corrected. It is proven before anything is ended by it."
        if changed.vendor_id
        else "Version {number} has no id any more: a person ends it at the vendor."
    )
    messages.success(request, word.format(number=changed.number))
    return redirect("key", key.pk)
