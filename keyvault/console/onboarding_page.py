"""The first-run guide: one page, one step at a time, each of which may be left out."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from keyvault.access.permissions import require_owner, visible_keys
from keyvault.console import onboarding
from keyvault.console.decorators import current_member, login_required_page, require_recent_auth
from keyvault.console.edit_forms import without_mark
from keyvault.console.forms.keys import ApplicationForm, AsItIsForm, RegisterForm
from keyvault.console.forms.policies import PolicyForm
from keyvault.console.forms.rotations import AccountForm, ConsumerForm
from keyvault.console.onboarding import Name
from keyvault.console.one_time_page import hand_over
from keyvault.core.errors import BadInput, KeyServiceError, NotFound
from keyvault.inventory import catalog, export_formats, keys
from keyvault.inventory.accounts import add_account, try_connection
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.models import ApiKey, Application
from rotation.consumers import registry
from rotation.scheduling import inheritance

_SUGGESTED = (("Development", False), ("Staging", False), ("Production", True))


class EnvironmentsForm(forms.Form):
    """The usual environments, and one of your own."""

    chosen = forms.MultipleChoiceField(
        required=False,
        choices=[(name, name) for name, _ in _SUGGESTED],
        initial=[name for name, _ in _SUGGESTED],
        widget=forms.CheckboxSelectMultiple,
        label="Which do you have?",
    )
    another = forms.CharField(max_length=100, required=False, label="Another one")


class FirstConsumerForm(ConsumerForm):
    """A running place of one of the applications."""

    application = forms.ModelChoiceField(
        Application.objects.none(), empty_label=None, label="Application"
    )
    field_order = ("application", "environment", "name", "webhook_url")

    def __init__(self, by: Any, *args: Any, **options: Any) -> None:
        super().__init__(by, *args, **options)
        rows = Application.objects.order_by("-pk")
        self.fields["application"].queryset = rows  # type: ignore[attr-defined]
        newest = ApiKey.objects.filter(application__isnull=False).order_by("-pk").first()
        if newest:
            self.initial["application"] = newest.application_id
            self.initial["environment"] = newest.environment_id


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show the steps, with the form of the next one, or of the one that was asked for."""
    return _page(request)


@sensitive_post_parameters()
@require_POST
@login_required_page
def take(request: HttpRequest, step: str) -> HttpResponse:
    """Do what a step's form says; what went wrong is said above it, and nothing is half done."""
    name, form = _name(step), None
    require_owner(current_member(request), "set up the installation")
    if request.POST.get("skip"):
        onboarding.skip(current_member(request), name)
        return redirect("onboarding")
    try:
        form = _form(request, name, request.POST)
        if not form.is_valid():
            return _page(request, name, form, status=400)
        return _DO[name](request, form)
    except KeyServiceError as error:
        if isinstance(form, AsItIsForm):
            form.hear(error)
        return _page(request, name, form, error.message, error.status)


def _name(step: str) -> Name:
    if step not in Name.values:
        raise NotFound("There is no such step.")
    return Name(step)


def _form(request: HttpRequest, name: Name, data: Any = None) -> forms.Form:
    by = current_member(request)
    if name == Name.ACCOUNT:
        return AccountForm(data)
    if name == Name.ENVIRONMENTS:
        return EnvironmentsForm(data)
    if name == Name.APPLICATION:
        return ApplicationForm(data)
    if name == Name.KEY:
        return _key_form(by, data)
    if name == Name.POLICY:
        return PolicyForm(data, initial={"every_days": 90}, above=inheritance.resolve([]))
    return FirstConsumerForm(by, data)


def _key_form(by: Any, data: Any) -> RegisterForm:
    """Begin with what there is, so that only the name and the key are left to say."""
    form = RegisterForm(by, data)
    for name in ("account", "environment", "application"):
        newest = form.fields[name].queryset.order_by("-pk").first()  # type: ignore[attr-defined]
        if newest:
            form.initial[name] = newest.pk
    return form


def _add_account(request: HttpRequest, form: forms.Form) -> HttpResponse:
    require_recent_auth(request, back="onboarding")
    account = add_account(current_member(request), **form.cleaned_data)
    found = try_connection(current_member(request), account)
    tone = messages.SUCCESS if found.good else messages.WARNING
    messages.add_message(request, tone, f"{account} was added. {found.text}")
    return redirect("onboarding")


def _add_environments(request: HttpRequest, form: forms.Form) -> HttpResponse:
    said = form.cleaned_data
    wanted = [one for one in _SUGGESTED if one[0] in said["chosen"]]
    if said["another"].strip():
        wanted.append((said["another"], False))
    if not wanted:
        raise BadInput("Choose at least one environment, or leave this step out.")
    with transaction.atomic():
        for position, (name, production) in enumerate(wanted):
            catalog.add_environment(
                current_member(request), name, is_production=production, position=position
            )
    return _done(request, f"Added: {', '.join(name for name, _ in wanted)}.")


def _add_application(request: HttpRequest, form: forms.Form) -> HttpResponse:
    assert isinstance(form, ApplicationForm)
    added = catalog.add_application(current_member(request), **without_mark(form))
    return _done(request, f"{added} was added.")


def _add_key(request: HttpRequest, form: forms.Form) -> HttpResponse:
    assert isinstance(form, RegisterForm)
    said = form.cleaned_data
    added = keys.register_key(
        current_member(request),
        form.new_key(),
        said["secret"],
        unchecked=said["unchecked"],
        as_it_is=said["as_it_is"],
    )
    return _done(request, " ".join([f"Recorded. {added.verdict.text}", *added.notes]))


def _set_policy(request: HttpRequest, form: forms.Form) -> HttpResponse:
    assert isinstance(form, PolicyForm)
    saved = inheritance.set_scope(current_member(request), None, form.wish())
    return _done(request, f"The {saved} is saved: {saved.summary}.")


def _add_consumer(request: HttpRequest, form: forms.Form) -> HttpResponse:
    """Add it and show its token, once, within what goes into the application."""
    said = form.cleaned_data
    if said["webhook_url"]:
        require_recent_auth(request)
    new = registry.add_consumer(
        current_member(request),
        said["name"],
        said["application"],
        said["environment"],
        webhook_url=said["webhook_url"],
    )
    key = (
        visible_keys(current_member(request))
        .filter(application=said["application"], environment=said["environment"])
        .select_related("account")
        .first()
    )
    facts: dict[str, Any] = {
        "consumer": {
            "name": new.consumer.name,
            "application": str(new.consumer.application),
            "environment": str(new.consumer.environment),
        },
        "token": new.token.reveal(),
        "webhook_secret": new.webhook_secret.reveal() if new.webhook_secret else "",
        "key": {"pk": key.pk, "name": key.name} if key else None,
        "section": "settings",
    }
    if key:
        variable = provider_of(key.account).environment_variable
        facts |= {
            "env_file": export_formats.env_file(key, new.token.reveal()),
            "wrapper": export_formats.wrapper(key, variable),
            "shell": export_formats.shell(variable),
        }
    return hand_over(request, "console/onboarding/consumer.html", facts)


def _done(request: HttpRequest, word: str) -> HttpResponse:
    messages.success(request, word)
    return redirect("onboarding")


_DO: dict[Name, Callable[[HttpRequest, forms.Form], HttpResponse]] = {
    Name.ACCOUNT: _add_account,
    Name.ENVIRONMENTS: _add_environments,
    Name.APPLICATION: _add_application,
    Name.KEY: _add_key,
    Name.POLICY: _set_policy,
    Name.CONSUMER: _add_consumer,
}


def _page(
    request: HttpRequest,
    name: Name | None = None,
    form: forms.Form | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    require_owner(current_member(request), "set up the installation")
    found = onboarding.steps()
    asked = request.GET.get("step", "")
    if name is None and asked in Name.values:
        name = Name(asked)
    name = name or next((one.name for one in found if one.next), None)
    facts = {
        "steps": found,
        "at": name,
        "form": form or (_form(request, name) if name else None),
        "left": sum(one.state == "open" for one in found),
        "problem": problem,
        "section": "settings",
    }
    return render(request, "console/onboarding/index.html", facts, status=status)
