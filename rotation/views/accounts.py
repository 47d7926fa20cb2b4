"""Accounts at vendors: what there is, and a form for owners to add one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from keyvault.errors import KeyServiceError
from keyvault.inventory import visible_accounts
from keyvault.permissions import Verb, may
from keyvault.views.pages import me, newest_first, next_link, number, page
from rotation.accounts import add_account
from rotation.forms import AccountForm
from rotation.providers import PROVIDERS


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
@page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the accounts, or add one."""
    if request.method == "GET":
        return _list(request, AccountForm())
    form = AccountForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    try:
        added = add_account(me(request), **form.cleaned_data)
    except KeyServiceError as error:
        return _list(request, form, error.message, error.status)
    messages.success(request, f"{added.name} was added. Keys of this account can be recorded now.")
    return redirect("accounts")


def _list(
    request: HttpRequest, form: AccountForm, problem: str = "", status: int = 200
) -> HttpResponse:
    found = visible_accounts(me(request)).select_related("usage")
    rows, after = newest_first(found, number(request.GET.get("after")))
    facts = {
        "rows": [{"it": row, "vendor": PROVIDERS.get(row.provider)} for row in rows],
        "next": next_link(request, after),
        "form": form,
        "problem": problem,
        "can_add": may(me(request), Verb.MANAGE),
        "section": "accounts",
    }
    return render(request, "rotation/accounts.html", facts, status=status)
