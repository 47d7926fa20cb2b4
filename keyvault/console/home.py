"""Home: is anything on fire, and what must I do?"""

from datetime import datetime, timedelta

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.access.permissions import Permission, may, visible_keys
from keyvault.console import onboarding
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.progress import track
from keyvault.console.queries import open_tasks, rotations_among, state_of
from keyvault.models import ApiKey, VersionState
from rotation.models import OPEN_STEPS, Rotation, Step

_MOST = 20
_SOON = timedelta(days=30)
_THRESHOLDS = (1, 7, 14, 30)
_LATELY = timedelta(days=7)


@require_GET
@login_required_page
def home(request: HttpRequest) -> HttpResponse:
    """Show my tasks first, then what runs or failed and why, then what is late or ends soon."""
    owner = may(current_member(request), Permission.MANAGE)
    first_steps = onboarding.steps() if owner else []
    if owner and onboarding.untouched(first_steps):
        return redirect("onboarding")
    seen = visible_keys(current_member(request))
    keys = seen.select_related("account", "environment", "application", "current", "policy")
    facts = {
        "tasks": list(open_tasks(current_member(request))[:_MOST]),
        "running": [_row(rotation) for rotation in _running(seen)],
        "failed": _failed(seen),
        "overdue": _overdue(keys),
        "ending": _ending(keys),
        "guide": next((one for one in first_steps if one.next), None),
        "section": "home",
    }
    return render(request, "console/home/index.html", facts)


def _row(rotation: Rotation) -> dict[str, object]:
    return {"it": rotation, "state": state_of(rotation), "track": track(rotation)}


def _running(keys: QuerySet[ApiKey]) -> QuerySet[Rotation]:
    return rotations_among(keys).filter(step__in=OPEN_STEPS).order_by("step_since")[:_MOST]


def _failed(keys: QuerySet[ApiKey]) -> list[Rotation]:
    """Return what failed lately and was not made good by a later rotation of the same key."""
    recent = rotations_among(keys).filter(
        step=Step.FAILED, finished_at__gt=timezone.now() - _LATELY
    )
    later = Rotation.objects.filter(key__in=recent.values("key"), step=Step.DONE)
    mended = dict(later.order_by("pk").values_list("key_id", "pk"))
    return [one for one in recent[:_MOST] if mended.get(one.key_id, 0) < one.pk]


def _overdue(keys: QuerySet[ApiKey]) -> list[ApiKey]:
    late = keys.filter(policy__enabled=True, policy__next_run_at__lt=timezone.now())
    return list(late.order_by("policy__next_run_at")[:_MOST])


def _ending(keys: QuerySet[ApiKey]) -> list[dict[str, object]]:
    """Return the keys whose current secret ends within 30 days, with the threshold they passed."""
    # The state is that of every current version; named, it finds the index of those that end.
    soon = keys.filter(
        current__state=VersionState.CURRENT, current__expires_at__lt=timezone.now() + _SOON
    )
    return [
        {"it": key, "ends": key.current.expires_at, "within": within(key.current.expires_at)}
        for key in soon.order_by(F("current__expires_at").asc())[:_MOST]
        if key.current and key.current.expires_at
    ]


def within(ends: datetime) -> int:
    """Return the smallest of 1, 7, 14, 30 days that holds the time left; 0 when none is left."""
    left = ends - timezone.now()
    if left <= timedelta(0):
        return 0
    return next((days for days in _THRESHOLDS if left <= timedelta(days=days)), _THRESHOLDS[-1])
