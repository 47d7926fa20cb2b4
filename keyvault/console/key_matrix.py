"""All keys at a glance: which application has how many where, and is anything wrong with them?"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.access.permissions import visible_keys
from keyvault.console.decorators import current_member, login_required_page, parse_id
from keyvault.console.keys import STATES
from keyvault.console.pagination import next_link
from keyvault.inventory.catalog import visible_environments
from keyvault.models import ApiKey, Application, Environment
from rotation.models import OPEN_STEPS, Rotation
from rotation.monitoring.cached_counts import LONG_SECONDS, CachedCounts, Counted

_SIZE, _JUST_NOW = 50, timedelta(seconds=2)
# The worst first: a cell shows the first of these that any of its keys is in.
_WORST = ("refused", "overdue", "expiring", "rotating")
_Cells = dict[tuple[int, int], Any]
_lately: CachedCounts[_Cells] = CachedCounts()
_LOOK = {"refused": "refused", "overdue": "overdue", "expiring": "expiring", "rotating": "moving"}


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show applications by environments, with how many keys and the worst state in each cell."""
    keys = visible_keys(current_member(request)).filter(application__isnull=False)
    environments = list(visible_environments(current_member(request)))
    rows, after = _applications(keys, parse_id(request.GET.get("after")))
    counted = cells_of(keys, [one.pk for one in rows])
    facts = {
        "environments": environments,
        "rows": [
            {
                "it": one,
                "cells": [
                    _cell_of(one, place, counted.value.get((one.pk, place.pk), {}))
                    for place in environments
                ],
            }
            for one in rows
        ],
        # Said only where it matters: of a count that stands for a minute.
        "counted_at": counted.at if timezone.now() - counted.at > _JUST_NOW else None,
        "next": next_link(request, after),
        "personal": visible_keys(current_member(request)).filter(member__isnull=False)[:1].exists(),
        "section": "keys",
    }
    return render(request, "console/keys/matrix.html", facts)


def _cell_of(
    application: Application, environment: Environment, counts: dict[str, Any]
) -> dict[str, Any]:
    """Return one cell, with the filters of the list of keys that shows what it counts."""
    filters = {"application": application.pk, "environment": environment.pk}
    if counts.get("state"):
        filters["state"] = counts["state"]
    return {"environment": environment, "query": urlencode(filters), **counts}


def _applications(
    keys: QuerySet[ApiKey], after: int | None
) -> tuple[list[Application], int | None]:
    """Return one page of the applications that have keys, by their number."""
    owned = Exists(keys.order_by().filter(application=OuterRef("pk")))
    found = Application.objects.filter(owned)
    if after is not None:
        found = found.filter(pk__gt=after)
    rows = list(found.order_by("pk")[: _SIZE + 1])
    return rows[:_SIZE], rows[_SIZE - 1].pk if len(rows) > _SIZE else None


def cells_of(
    keys: QuerySet[ApiKey], applications: list[int], long_seconds: float = LONG_SECONDS
) -> Counted[_Cells]:
    """Count the keys of these applications; the same for a minute where they are very many."""
    # The statement names what the person may see: another role is another question.
    question = (str(keys.query), *applications)
    return _lately.ask(question, lambda: _cells(keys, applications), long_seconds)


def forget() -> None:
    """Count anew the next time."""
    _lately.forget()


def _cells(keys: QuerySet[ApiKey], applications: list[int]) -> _Cells:
    """Count each cell's keys, and those in each state, in one statement."""
    now, soon = timezone.now(), timezone.now() + timedelta(days=30)
    moving = Exists(Rotation.objects.filter(key=OuterRef("pk"), step__in=OPEN_STEPS))
    found = (
        keys.filter(application__in=applications)
        .order_by()
        .values_list("application", "environment")
        .annotate(
            total=Count("pk"),
            refused=Count("pk", filter=Q(current__check_answer="refused")),
            overdue=Count("pk", filter=Q(policy__enabled=True, policy__next_run_at__lt=now)),
            expiring=Count("pk", filter=Q(current__expires_at__lt=soon)),
            # No join: a key would count once for each rotation that it ever had.
            rotating=Count("pk", filter=Q(moving)),
            oldest=Min("current__published_at"),
            due=Min("policy__next_run_at", filter=Q(policy__enabled=True)),
        )
    )
    return {
        (row[0], row[1]): {
            **_cell(row[2], dict(zip(_WORST, row[3:7], strict=True))),
            "oldest": row[7],
            "due": row[8],
        }
        for row in found
    }


def _cell(total: int, states: dict[str, int]) -> dict[str, Any]:
    worst = next((name for name in _WORST if states[name]), "")
    text = f"{states[worst]} {STATES[worst][0].lower()}" if worst else ""
    if worst == "expiring":
        text = "{n} expires in 30 days" if states[worst] == 1 else "{n} expire in 30 days"
        text = text.format(n=states[worst])
    return {"total": total, "state": worst, "look": _LOOK.get(worst, ""), "text": text}
