"""The list of keys: where is key X, how old is it, who owns it?"""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.models import LIVE_STATES, Account, ApiKey, Application, Environment, KeyVersion
from keyvault.permissions import Verb, may, visible_keys
from keyvault.views.pages import me, newest_first, next_link, number, page, words
from rotation.models import OPEN_STEPS, Rotation, WaitingFor
from rotation.views.finding import state_of, with_open_rotation
from rotation.views.track import track

_SOON = timedelta(days=30)
_TAIL = 4
_OPTIONS: dict[str, type[Model]] = {
    "account": Account,
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


STATES: dict[str, tuple[str, Callable[[Keys], Keys]]] = {
    "rotating": ("Rotating", lambda keys: keys.filter(_rotating())),
    "person": ("Needs a person", lambda keys: keys.filter(_needing_a_person())),
    "overdue": (
        "Overdue",
        lambda keys: keys.filter(policy__enabled=True, policy__next_run_at__lt=timezone.now()),
    ),
    "expiring": (
        "Expires in 30 days",
        lambda keys: keys.filter(current__expires_at__lt=timezone.now() + _SOON),
    ),
    "refused": ("Refused by the vendor", lambda keys: keys.filter(current__check_answer="refused")),
    "unplanned": ("Without a policy", lambda keys: keys.filter(policy__isnull=True)),
}


@require_GET
@page
def listing(request: HttpRequest) -> HttpResponse:
    """Show the keys this person may see, filtered by what stands in the URL."""
    visible = visible_keys(me(request))
    found = _filtered(request, visible).select_related(
        "account", "environment", "application", "member", "current", "policy"
    )
    rows, after = newest_first(
        found.prefetch_related(with_open_rotation()), number(request.GET.get("after"))
    )
    facts = {
        "rows": [_row(key) for key in rows],
        "next": next_link(request, after),
        "options": {name: _options(model, name, visible) for name, model in _OPTIONS.items()},
        "states": [(code, word) for code, (word, _) in STATES.items()],
        "chosen": {name: words(request, name) for name in ("q", "state", *_OPTIONS)},
        "filtered": any(words(request, name) for name in ("q", "state", *_OPTIONS)),
        "bulk": _bulk(request),
        "section": "keys",
    }
    return render(request, "rotation/keys.html", facts)


def _bulk(request: HttpRequest) -> str:
    """Return the query by which a campaign over the listed places begins; empty without any."""
    if words(request, "q") or words(request, "state"):
        return ""
    chosen = {name: words(request, name) for name in _OPTIONS if words(request, name)}
    return urlencode(chosen) if chosen and may(me(request), Verb.MANAGE) else ""


def _row(key: ApiKey) -> dict[str, object]:
    running: list[Rotation] = key.open_now  # type: ignore[attr-defined]
    first = running[0] if running else None
    return {
        "it": key,
        "rotation": first,
        "state": state_of(first) if first else "",
        "track": track(first) if first else None,
    }


def _filtered(request: HttpRequest, keys: Keys) -> Keys:
    if text := words(request, "q"):
        keys = keys.filter(_matching(text))
    for name in _OPTIONS:
        if (chosen := number(request.GET.get(name))) is not None:
            keys = keys.filter(**{name: chosen})
    if (state := words(request, "state")) in STATES:
        keys = STATES[state][1](keys)
    return keys


def _matching(text: str) -> Q:
    """Match a part of the name, or the last four characters of a secret that is still alive."""
    match = Q(name__icontains=text)
    if len(text) == _TAIL:
        alive = KeyVersion.objects.filter(tail=text, state__in=LIVE_STATES)
        match |= Q(pk__in=alive.values("key"))
    return match


def _options(model: type[Model], name: str, keys: Keys) -> list[tuple[int, str]]:
    """Return the choices of a filter: only those under which this person has a key."""
    owned = Exists(keys.filter(**{name: OuterRef("pk")}))
    return [(row.pk, str(row)) for row in model._default_manager.filter(owned)]
