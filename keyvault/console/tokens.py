"""Service tokens of all applications: who uses which, which are idle, and an end for one."""

from collections.abc import Callable
from datetime import timedelta

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from keyvault.access.permissions import Permission, may, visible_applications
from keyvault.console.decorators import current_member, login_required_page, parse_id, query_text
from keyvault.console.one_time_page import hand_over
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import BadInput, NotFound
from keyvault.core.secret import Secret
from keyvault.delivery import token_secrets, tokens
from keyvault.inventory import catalog
from keyvault.models import ServiceToken

_IDLE, _SOON = timedelta(days=30), timedelta(days=30)
Tokens = QuerySet[ServiceToken]

STATES: dict[str, tuple[str, Callable[[Tokens], Tokens]]] = {
    "live": ("Live", lambda rows: rows.filter(_live())),
    "idle": (
        "Not used for 30 days",
        lambda rows: rows.filter(_live(), _unused_since(timezone.now() - _IDLE)),
    ),
    "ending": (
        "Ends in 30 days",
        lambda rows: rows.filter(_live(), expires_at__lt=timezone.now() + _SOON),
    ),
    "revoked": ("Revoked", lambda rows: rows.filter(revoked_at__isnull=False)),
}


def _live() -> Q:
    unended = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return unended & Q(revoked_at__isnull=True)


def _unused_since(then: object) -> Q:
    return Q(last_used_at__lt=then) | Q(last_used_at__isnull=True, created_at__lt=then)


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the tokens that one may know of, without their texts."""
    by = current_member(request)
    found = _filtered(request, ServiceToken.objects.filter(catalog.within_reach(by)))
    rows, after = newest_first(
        found.select_related("application", "environment", "created_by", "consumer"),
        parse_id(request.GET.get("after")),
    )
    mine = set(
        ServiceToken.objects.filter(
            catalog.within_reach(by, Permission.MANAGE), pk__in=[one.pk for one in rows]
        ).values_list("pk", flat=True)
    )
    facts = {
        "rows": [
            {
                "it": one,
                "can": one.pk in mine and not one.revoked_at,
                "formers": token_secrets.open_formers(one),
            }
            for one in rows
        ],
        "next": next_link(request, after),
        "applications": visible_applications(by)[:_MOST],
        "environments": catalog.visible_environments(by)[:_MOST],
        "states": [(code, word) for code, (word, _) in STATES.items()],
        "chosen": {
            name: query_text(request, name) for name in ("application", "environment", "state")
        },
        "section": "settings",
    }
    return render(request, "console/applications/tokens.html", facts)


def _filtered(request: HttpRequest, rows: Tokens) -> Tokens:
    for name in ("application", "environment"):
        if (chosen := parse_id(request.GET.get(name))) is not None:
            rows = rows.filter(**{name: chosen})
    if (state := query_text(request, "state")) in STATES:
        rows = STATES[state][1](rows)
    return rows


@require_POST
@login_required_page
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """End a token for good, once the person has ticked what that means."""
    token = _token(request, token_id)
    if request.POST.get("sure") != "yes":
        raise BadInput("Nothing was changed. Tick the box if this token shall end now.")
    tokens.revoke(current_member(request), token)
    messages.success(request, f"{token} is revoked: it opens nothing any more.")
    return redirect("tokens")


@require_POST
@login_required_page
def renew(request: HttpRequest, token_id: int) -> HttpResponse:
    """Give a token a new text, shown once; every former text that is in use works on until its end."""
    token = _token(request, token_id)
    return show_renewed(
        request, token, token.name, tokens.renew(current_member(request), token), "settings"
    )


def show_renewed(
    request: HttpRequest, token: ServiceToken, name: str, text: Secret, section: str
) -> HttpResponse:
    """Lead to the page that shows the new text, and names the former ones that still open."""
    token.refresh_from_db()
    facts = {
        "application": {"pk": token.application.pk, "name": token.application.name},
        "consumer": {"name": name},
        "token": text.reveal(),
        "renewed": True,
        "formers": [
            {
                "to": one["shown_to"],
                "shown": f"{one['shown_at']:%Y-%m-%d %H:%M}",
                "ends": f"{one['ends_at']:%Y-%m-%d %H:%M}",
                "used": f"{one['used_at']:%Y-%m-%d %H:%M}" if one["used_at"] else "",
            }
            for one in token_secrets.open_formers(token)
        ],
        "section": section,
    }
    return hand_over(request, "console/applications/consumer_added.html", facts)


def _token(request: HttpRequest, token_id: int) -> ServiceToken:
    found = ServiceToken.objects.select_related("application", "environment")
    token = found.filter(pk=token_id).first()
    if token is None or not may(current_member(request), Permission.VIEW, token):
        raise NotFound("There is no such token, or it is not yours to see.")
    return token


_MOST = 500
