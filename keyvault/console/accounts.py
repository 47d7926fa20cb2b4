"""Accounts at vendors: what there is, and a form for owners to add one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.console.edit_forms import refreshed, shown, without_mark
from keyvault.console.forms.rotations import (
    AccountChangeForm,
    AccountForm,
    AccountSettingsForm,
    CredentialForm,
)
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import KeyServiceError
from keyvault.inventory.account_settings import change_settings
from keyvault.inventory.accounts import add_account, change_account, try_connection
from keyvault.inventory.catalog import get_account, visible_accounts
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.models import VendorAccount
from keyvault.vendors import PROVIDERS
from rotation.engine.management_credentials import replace_credential
from rotation.models import AccountUsage
from rotation.scheduling.inheritance import scope_of


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the accounts, or add one."""
    if request.method == "GET":
        return _list(request, AccountForm())
    form = AccountForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    require_recent_auth(request, back="accounts")
    try:
        added = add_account(current_member(request), **form.cleaned_data)
    except KeyServiceError as error:
        form.hear(error)
        return _list(request, form, error.message, error.status)
    messages.success(
        request,
        f"{added.name} was added. Keys of this account can be recorded now.",
    )
    return redirect("accounts")


@require_http_methods(["GET", "POST"])
@login_required_page
def show(request: HttpRequest, account_id: int) -> HttpResponse:
    """Show one account, or change its name or its dashboard's address."""
    account = get_account(current_member(request), account_id)
    if request.method == "GET":
        return _one(request, account, _change(account))
    form = AccountChangeForm(request.POST)
    if not form.is_valid():
        return _one(request, account, form, status=400)
    try:
        change_account(
            current_member(request), account, form.cleaned_data["seen"], **without_mark(form)
        )
    except KeyServiceError as error:
        form = refreshed(form, error, account)
        return _one(request, account, form, error.message, error.status)
    messages.success(request, "The change is stored.")
    return redirect("vendor-account", account.pk)


@sensitive_post_parameters()
@require_POST
@login_required_page
def credential(request: HttpRequest, account_id: int) -> HttpResponse:
    """Replace the account's management credential, by a person who proves again who they are."""
    account = get_account(current_member(request), account_id)
    form = CredentialForm(request.POST)
    if not form.is_valid():
        return _one(request, account, _change(account), status=400, other=form)
    require_recent_auth(request, back=reverse("vendor-account", args=[account.pk]))
    said = form.cleaned_data
    try:
        replace_credential(
            current_member(request), account, said["credential"], as_it_is=said["as_it_is"]
        )
    except KeyServiceError as error:
        form.hear(error)
        return _one(request, account, _change(account), error.message, error.status, other=form)
    messages.success(
        request,
        "The credential was replaced. Withdraw the old one at the vendor now.",
    )
    return redirect("vendor-account", account.pk)


@require_POST
@login_required_page
def settings(request: HttpRequest, account_id: int) -> HttpResponse:
    """Change limits and timings of the account, by a person who proves again who they are."""
    account = get_account(current_member(request), account_id)
    form = AccountSettingsForm(account, request.POST.dict())
    if not form.is_valid():
        return _one(request, account, _change(account), status=400, limits=form)
    require_recent_auth(request, back=reverse("vendor-account", args=[account.pk]))
    try:
        change_settings(current_member(request), account, form.values(), form.cleaned_data["seen"])
    except KeyServiceError as error:
        if error.code == "stale":
            # Whoever has read what somebody else changed may save again and replace it.
            form = AccountSettingsForm(account, {**form.data, "set-seen": edit_mark(account)})
        return _one(request, account, _change(account), error.message, error.status, limits=form)
    messages.success(request, "The limits and timings are stored.")
    return redirect("vendor-account", account.pk)


def _change(account: VendorAccount) -> AccountChangeForm:
    return AccountChangeForm(initial=shown(account, AccountChangeForm))


@require_POST
@login_required_page
def test(request: HttpRequest, account_id: int) -> HttpResponse:
    """Ask the vendor about a key that does not exist, and say how it answered."""
    account = get_account(current_member(request), account_id)
    found = try_connection(current_member(request), account)
    tone = messages.SUCCESS if found.good else messages.ERROR
    messages.add_message(request, tone, found.text)
    if request.POST.get("next") == "start":
        return redirect("onboarding")
    return redirect("vendor-account", account.pk)


def _one(
    request: HttpRequest,
    account: VendorAccount,
    form: AccountChangeForm,
    problem: str = "",
    status: int = 200,
    other: CredentialForm | None = None,
    limits: AccountSettingsForm | None = None,
) -> HttpResponse:
    facts = {
        "account": account,
        "credential_form": other or CredentialForm(),
        "settings_form": limits or AccountSettingsForm(account),
        "vendor": PROVIDERS.get(account.provider),
        "usage": AccountUsage.objects.filter(account=account).first(),
        "level": scope_of(account),
        "form": form,
        "problem": problem,
        "can": may(current_member(request), Permission.MANAGE),
        "section": "settings",
    }
    return render(request, "console/accounts/detail.html", facts, status=status)


def _list(
    request: HttpRequest, form: AccountForm, problem: str = "", status: int = 200
) -> HttpResponse:
    found = visible_accounts(current_member(request)).select_related("usage")
    rows, after = newest_first(found, parse_id(request.GET.get("after")))
    facts = {
        "rows": [{"it": row, "vendor": PROVIDERS.get(row.provider)} for row in rows],
        "next": next_link(request, after),
        "form": form,
        "problem": problem,
        "can_add": may(current_member(request), Permission.MANAGE),
        "section": "settings",
    }
    return render(request, "console/accounts/list.html", facts, status=status)
