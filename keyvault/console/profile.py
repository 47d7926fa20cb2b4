"""A person's own account: where they are signed in, how they prove who they are, what they hold."""

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from keyvault.access import sessions
from keyvault.access.authentication import needs_second_factor
from keyvault.access.permissions import live_grants
from keyvault.audit.actors import member_actor
from keyvault.console.decorators import current_member, login_required_page
from keyvault.models import ServiceToken

_MOST = 50


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show sessions, factors, roles, and the service tokens that this person made."""
    member = current_member(request)
    tokens = ServiceToken.objects.filter(created_by=member, revoked_at__isnull=True)
    facts = {
        "sessions": sessions.live(member)[:_MOST],
        "here": sessions.name_of(request),
        "factors": Authenticator.objects.filter(user=member).order_by("created_at"),
        "grants": live_grants(member).select_related("application", "environment"),
        "tokens": tokens.select_related("application", "environment")[:_MOST],
        "second_factor_due": needs_second_factor(request, member),
        "section": "account",
    }
    return render(request, "console/access/profile.html", facts)


@require_POST
@login_required_page
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End one of the person's own sessions, or all but this one."""
    only = request.POST.get("session", "")[:40]
    here = sessions.name_of(request)
    ended = sessions.end(
        member_actor(current_member(request)), current_member(request), only=only, but=here
    )
    word = "Nobody is signed in there any more." if ended else "That session was over already."
    messages.success(request, word)
    return redirect("account")
