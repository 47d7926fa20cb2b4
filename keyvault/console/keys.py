"""The list of keys: where is key X, how old is it, who owns it?"""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.access.permissions import Permission, may_somewhere, visible_keys
from keyvault.console import saved_view_rows
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    query_text,
    text_of,
)
from keyvault.console.pagination import PAGE_SIZE, Order, newest_first, next_link
from keyvault.console.progress import track
from keyvault.console.queries import state_of, with_open_rotation
from keyvault.inventory import hold_status, key_search
from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    VendorAccount,
    VersionState,
)
from rotation.models import OPEN_STEPS, Rotation, WaitingFor
from rotation.models.onboarding import SavedView

_SOON = timedelta(days=30)
_MOST_OPTIONS = 200
_OPTIONS: dict[str, type[Model]] = {
    "account": VendorAccount,
    "environment": Environment,
    "application": Application,
}
Keys = QuerySet[ApiKey]


def _rotating() -> Exists:
    return Exists(Rotation.objects.filter(key=OuterRef("pk"), step__in=OPEN_STEPS))


def _needing_a_person() -> Exists:
    waits = (WaitingFor.KEY, WaitingFor.DELETION, WaitingFor.PERSON)
    return Exists(
        Rotation.objects.filter(key=OuterRef("pk"), step__in=OPEN_STEPS, waiting_for__in=waits)
    )


# True of every current version; named, it finds the indexes of those by end and age.
_CURRENT = Q(current__state=VersionState.CURRENT)
STATES: dict[str, tuple[str, Callable[[Keys], Keys]]] = {
    "rotating": ("Rotating", lambda keys: keys.filter(_rotating())),
    "person": ("Needs a person", lambda keys: keys.filter(_needing_a_person())),
    "overdue": (
        "Overdue",
        lambda keys: keys.filter(policy__enabled=True, policy__next_run_at__lt=timezone.now()),
    ),
    "expiring": (
        "Expires in 30 days",
        lambda keys: keys.filter(_CURRENT, current__expires_at__lt=timezone.now() + _SOON),
    ),
    "refused": ("Refused by the vendor", lambda keys: keys.filter(current__check_answer="refused")),
    "retired": ("Retired", lambda keys: keys.filter(archived_at__isnull=False)),
    "held": ("On hold", lambda keys: keys.filter(hold_status.is_on_hold())),
    "unplanned": ("Without a policy", lambda keys: keys.filter(policy__isnull=True)),
}


ORDERS: dict[str, tuple[str, Order]] = {
    "name": ("Name", Order("name", nullable=False)),
    "due": ("Due first", Order("policy__next_run_at", moment=True)),
    "expiry": ("Ends first", Order("current__expires_at", moment=True, among=_CURRENT)),
    "age": ("Oldest first", Order("current__published_at", moment=True, among=_CURRENT)),
}
FILTERS = ("q", "state", *_OPTIONS)


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the keys this person may see, filtered and ordered by what stands in the URL."""
    visible = visible_keys(
        current_member(request), archived=query_text(request, "state") == "retired"
    )
    found = filtered(request.GET, visible).select_related(
        "account", "environment", "application", "member", "current", "policy"
    )
    found = found.annotate(held_now=hold_status.is_on_hold())
    rows, following = _ordered(request, found.prefetch_related(with_open_rotation()))
    facts = {
        "rows": [_row(key) for key in rows],
        "next": following,
        "options": {name: _options(model, name, visible) for name, model in _OPTIONS.items()},
        "states": [(code, word) for code, (word, _) in STATES.items()],
        "orders": [(code, word) for code, (word, _) in ORDERS.items()],
        "chosen": {name: query_text(request, name) for name in (*FILTERS, "order")},
        "filtered": any(query_text(request, name) for name in FILTERS),
        "query": chosen_query(request.GET),
        "views": saved_view_rows.saved_views_of(current_member(request), SavedView.Of.KEYS),
        "can_bulk": may_somewhere(current_member(request), Permission.ROTATE),
        "section": "keys",
    }
    return render(request, "console/keys/list.html", facts)


def _ordered(request: HttpRequest, found: Keys) -> tuple[list[ApiKey], str]:
    """Return one page in the order that was asked for, and the query of the next."""
    if (order := query_text(request, "order")) not in ORDERS:
        rows, after = newest_first(found, parse_id(request.GET.get("after")))
        return rows, next_link(request, after)
    rows, mark = ORDERS[order][1].page(found, query_text(request, "after", 200), PAGE_SIZE)
    return rows, next_link(request, mark or None)


def chosen_query(said: QueryDict) -> str:
    """Return the filters and the order, without empty ones and without the place in the list."""
    kept = {name: text_of(said, name) for name in (*FILTERS, "order")}
    return urlencode({name: value for name, value in kept.items() if value})


def _row(key: ApiKey) -> dict[str, object]:
    running: list[Rotation] = key.open_now  # type: ignore[attr-defined]
    first = running[0] if running else None
    return {
        "it": key,
        "held": key.held_now,  # type: ignore[attr-defined]
        "rotation": first,
        "state": state_of(first) if first else "",
        "track": track(first) if first else None,
    }


def filtered(said: QueryDict, keys: Keys) -> Keys:
    """Return the keys that fit the filters of a URL or a form."""
    if q := text_of(said, "q"):
        keys = keys.filter(key_search.matching(q) | key_search.of_application(q))
    for name in _OPTIONS:
        if (chosen := parse_id(said.get(name))) is not None:
            keys = keys.filter(**{name: chosen})
    if (state := text_of(said, "state")) in STATES:
        keys = STATES[state][1](keys)
    return keys


def _options(model: type[Model], name: str, keys: Keys) -> list[tuple[int, str]]:
    """Return the choices of a filter: those under which this person has a key, the first of many.

    Whoever looks for another application finds it by its name, or through its own page.
    """
    owned = Exists(keys.filter(**{name: OuterRef("pk")}).order_by())
    found = model._default_manager.filter(owned)[:_MOST_OPTIONS]
    return [(row.pk, str(row)) for row in found]
