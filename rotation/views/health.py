"""Is the service alive, and can it work? For load balancers, and a line on the home page."""

from datetime import datetime, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from keyvault import health
from keyvault.views.pages import page
from rotation import freezing
from rotation.models import Heartbeat

_LEAST_LATE = timedelta(seconds=60)


@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer that this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer 200 when keys can be served; broker and loop are told but do not count."""
    database, vault = health.database(), health.vault()
    at = last_tick() if database else None
    facts = {
        "status": "ok" if database and vault else "unavailable",
        "database": _word(database),
        "vault": _word(vault),
        "broker": _word(health.broker()),
        "last_tick": at.isoformat() if at else None,
        "loop": "late" if is_late(at) else "ok",
        "deletion": "frozen" if database and freezing.known() else "ok",
    }
    return JsonResponse(facts, status=200 if database and vault else 503)


@require_safe
@page
def line(request: HttpRequest) -> HttpResponse:
    """Show the health of loop, secret store and broker in one line."""
    at = last_tick()
    facts = {"tick": at, "late": is_late(at), "vault": health.vault(), "broker": health.broker()}
    return render(request, "rotation/_health.html", facts)


def last_tick() -> datetime | None:
    """Return when the loop that starts and moves rotations last ran."""
    return Heartbeat.objects.filter(name="tick").values_list("at", flat=True).first()


def is_late(at: datetime | None) -> bool:
    """Return whether the loop has missed several turns."""
    allowed = max(_LEAST_LATE, timedelta(seconds=10 * settings.TICK_SECONDS))
    return at is None or timezone.now() - at > allowed


def _word(there: bool) -> str:
    return "ok" if there else "away"
