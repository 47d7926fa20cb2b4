"""Applications and the places where they run."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from keyvault.access.permissions import Permission, may, visible_applications, visible_keys
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.console.edit_forms import refreshed, shown, without_mark
from keyvault.console.forms.keys import ApplicationForm
from keyvault.console.forms.rotations import ConsumerForm
from keyvault.console.one_time_page import hand_over
from keyvault.console.pagination import newest_first, next_link
from keyvault.console.queries import with_open_rotation
from keyvault.console.tokens import show_renewed
from keyvault.core.errors import BadInput, KeyServiceError, NotFound
from keyvault.delivery import tokens
from keyvault.inventory import catalog
from keyvault.models import Application, Member
from rotation.consumers import registry
from rotation.models import Consumer


@require_http_methods(["GET", "POST"])
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the applications, or add one."""
    if request.method == "GET":
        return _list(request, ApplicationForm())
    form = ApplicationForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    try:
        said = without_mark(form)
        added = catalog.add_application(current_member(request), **said)
    except KeyServiceError as error:
        return _list(request, form, error.message, error.status)
    messages.success(request, f"{added.name} was added. Next: say where it runs.")
    return redirect("application", added.pk)


def _list(
    request: HttpRequest, form: ApplicationForm, problem: str = "", status: int = 200
) -> HttpResponse:
    found = visible_applications(current_member(request))
    rows, after = newest_first(found, parse_id(request.GET.get("after")))
    facts = {
        "rows": rows,
        "next": next_link(request, after),
        "form": form,
        "problem": problem,
        "can_add": may(current_member(request), Permission.MANAGE),
        "section": "applications",
    }
    return render(request, "console/applications/list.html", facts, status=status)


@require_GET
@login_required_page
def show(request: HttpRequest, application_id: int) -> HttpResponse:
    """Show an application's consumers and keys."""
    application = catalog.get_application(current_member(request), application_id)
    return _page(request, application, ConsumerForm(current_member(request)))


@require_POST
@login_required_page
def change(request: HttpRequest, application_id: int) -> HttpResponse:
    """Change its name, its team, or where to write."""
    application = catalog.get_application(current_member(request), application_id)
    form, consumer = ApplicationForm(request.POST), ConsumerForm(current_member(request))
    if not form.is_valid():
        return _page(request, application, consumer, status=400, change_form=form)
    try:
        said = without_mark(form)
        catalog.change_application(
            current_member(request), application, form.cleaned_data["seen"], **said
        )
    except KeyServiceError as error:
        form = refreshed(form, error, application)
        return _page(request, application, consumer, error.message, error.status, change_form=form)
    messages.success(request, "The change is stored.")
    return redirect("application", application.pk)


@require_POST
@login_required_page
def add_consumer(request: HttpRequest, application_id: int) -> HttpResponse:
    """Add a place where it runs; its token is shown once."""
    application = catalog.get_application(current_member(request), application_id)
    form = ConsumerForm(current_member(request), request.POST)
    if not form.is_valid():
        return _page(request, application, form, status=400)
    said = form.cleaned_data
    if said["webhook_url"]:
        require_recent_auth(request)
    try:
        new = registry.add_consumer(
            current_member(request),
            said["name"],
            application,
            said["environment"],
            webhook_url=said["webhook_url"],
        )
    except KeyServiceError as error:
        return _page(request, application, form, error.message, error.status)
    facts = {
        "application": {"pk": application.pk, "name": application.name},
        "consumer": {"name": new.consumer.name},
        "token": new.token.reveal(),
        "webhook_secret": new.webhook_secret.reveal() if new.webhook_secret else "",
        "section": "applications",
    }
    return hand_over(request, "console/applications/consumer_added.html", facts)


@require_POST
@login_required_page
def remove_consumer(request: HttpRequest, application_id: int, consumer_id: int) -> HttpResponse:
    """Take a consumer out of use, once the person has ticked what that means."""
    application = catalog.get_application(current_member(request), application_id)
    consumer = _consumer(application, consumer_id)
    try:
        if request.POST.get("sure") != "yes":
            raise BadInput("Nothing was changed. Tick the box if its token shall end now.")
        registry.remove_consumer(current_member(request), consumer)
    except KeyServiceError as error:
        form = ConsumerForm(current_member(request))
        return _page(request, application, form, error.message, error.status)
    messages.success(
        request,
        f"{consumer.name} is out of use and its token has ended.",
    )
    return redirect("application", application.pk)


@require_POST
@login_required_page
def renew_token(request: HttpRequest, application_id: int, consumer_id: int) -> HttpResponse:
    """Give a consumer's token a new text, shown once; former ones in use work on until their ends."""
    application = catalog.get_application(current_member(request), application_id)
    consumer = _consumer(application, consumer_id)
    try:
        text = tokens.renew(current_member(request), consumer.token)
    except KeyServiceError as error:
        form = ConsumerForm(current_member(request))
        return _page(request, application, form, error.message, error.status)
    return show_renewed(request, consumer.token, consumer.name, text, "applications")


def _consumer(application: Application, consumer_id: int) -> Consumer:
    found = Consumer.objects.select_related("token").filter(pk=consumer_id, application=application)
    consumer = found.first()
    if consumer is None:
        raise NotFound("There is no such consumer, or it is not yours to see.")
    return consumer


def _page(
    request: HttpRequest,
    application: Application,
    form: ConsumerForm,
    problem: str = "",
    status: int = 200,
    change_form: ApplicationForm | None = None,
) -> HttpResponse:
    keys = visible_keys(current_member(request)).filter(application=application)
    facts = {
        "application": application,
        "consumers": _visible_consumers(current_member(request), application),
        "keys": keys.select_related("account", "environment", "current", "policy")
        .prefetch_related(with_open_rotation())
        .order_by("environment__position", "name")[:200],
        "form": form,
        "change_form": change_form or ApplicationForm(initial=shown(application, ApplicationForm)),
        "can_change": may(current_member(request), Permission.MANAGE),
        "problem": problem,
        "can_add": _may_add(current_member(request), application),
        "section": "applications",
    }
    return render(request, "console/applications/detail.html", facts, status=status)


def _visible_consumers(member: Member, application: Application) -> list[Consumer]:
    here = Consumer.objects.filter(application=application, active=True)
    seen = catalog.visible_environments(member)
    return list(
        here.filter(environment__in=seen)
        .select_related("environment", "token")
        .order_by("environment__position", "name")[:200]
    )


def _may_add(member: Member, application: Application) -> bool:
    return may(member, Permission.MANAGE, application)
