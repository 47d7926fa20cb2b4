"""Keep a list's filters under a name, and remove one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from keyvault.console import saved_view_rows
from keyvault.console.audit import chosen_query as audit_query
from keyvault.console.decorators import current_member, login_required_page, text_of
from keyvault.console.keys import chosen_query as keys_query
from keyvault.core.errors import NotFound
from rotation.models.onboarding import SavedView

_QUERIES = {SavedView.Of.KEYS: keys_query, SavedView.Of.AUDIT: audit_query}


@require_POST
@login_required_page
def keep(request: HttpRequest, kind: str) -> HttpResponse:
    """Keep what stands in the form under its name."""
    of = _kind(kind)
    query = _QUERIES[of](QueryDict(text_of(request.POST, "query", 1000)))
    view = saved_view_rows.save_view(
        current_member(request), of, text_of(request.POST, "name", 200), query
    )
    messages.success(request, f"“{view.name}” is kept; it stands above the list.")
    return redirect(f"{reverse(of)}?{view.query}")


@require_POST
@login_required_page
def drop(request: HttpRequest, kind: str, view_id: int) -> HttpResponse:
    """Remove a view; the list itself stays as it is."""
    saved_view_rows.delete_view(current_member(request), view_id)
    return redirect(reverse(_kind(kind)))


def _kind(kind: str) -> SavedView.Of:
    if kind not in SavedView.Of.values:
        raise NotFound("There is no such list.")
    return SavedView.Of(kind)
