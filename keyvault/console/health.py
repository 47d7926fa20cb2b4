"""Is the service alive, and can it work? For load balancers, Home and a Prometheus server."""

import hmac
from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import login_required_page
from keyvault.models import Member
from rotation import dependencies
from rotation.monitoring import metrics, status


@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer that this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 when keys can be served; all else is told and does not count.

    Whoever may see the installation is told each problem in words, others how many there are.
    """
    vault, broker = dependencies.vault_state(), dependencies.broker_facts()
    seen = _seen()
    audit = seen is not None and dependencies.audit()
    # guard: an audit log that cannot be written is not ready
    facts: dict[str, Any] = {
        "status": "ok" if audit and vault["active"] else "unavailable",
        "database": _word(seen is not None),
        "audit": "ok" if audit else "unwritable",
        "vault": _vault_word(vault),
        "broker": _word(broker.there),
    }
    if seen:
        told = status.problems(seen, vault, broker, audit=audit)
        facts |= {
            "loop": "late" if status.loop_late(seen) else "ok",
            "workers": seen.workers,
            "deletion": "frozen" if seen.frozen else "ok",
            "problems": told if _may_look(request) else len(told),
        }
    return JsonResponse(facts, status=200 if facts["status"] == "ok" else 503)


@require_safe
@never_cache
def scrape(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics, to the bearer of METRICS_TOKEN or to an owner."""
    if not _may_look(request):
        return HttpResponse("Give METRICS_TOKEN as a bearer token.\n", status=401)
    return HttpResponse(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


@require_safe
@login_required_page
def line(request: HttpRequest) -> HttpResponse:
    """Show the health of loop, workers, secret store and broker in one line, and what is wrong."""
    vault, broker = dependencies.vault_state(), dependencies.broker_facts()
    seen, audit = status.look(), dependencies.audit()
    facts = {
        "audit": audit,
        "vitals": seen,
        "late": status.loop_late(seen),
        "vault": vault,
        "broker": broker,
        "problems": status.problems(seen, vault, broker, audit=audit),
    }
    return render(request, "console/parts/_health.html", facts)


def _seen() -> status.Vitals | None:
    try:
        return status.look()
    except AnyDatabaseError:
        return None


def _may_look(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    known = settings.METRICS_TOKEN
    if known and hmac.compare_digest(given.encode(), known.encode()):
        return True
    try:
        member = request.user
        return isinstance(member, Member) and may(member, Permission.MANAGE)
    except AnyDatabaseError:
        return False


def _vault_word(vault: dict[str, Any]) -> str:
    if vault["active"]:
        return "ok"
    return "sealed" if vault["sealed"] else "failing" if vault["reachable"] else "away"


def _word(there: bool) -> str:
    return "ok" if there else "away"
