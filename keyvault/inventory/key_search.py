"""Find keys by what people know of them, so that each part of the question can use its own index."""

from typing import Any

from django.db.models import Q, QuerySet

from keyvault.models import LIVE_STATES, Application, KeyVersion

_TAIL, _FEW = 4, 500


def matching(part: str) -> Q:
    """Match a part of a key's name, or the last four characters of a secret that is alive."""
    match = Q(name__icontains=part)
    if len(part) == _TAIL:
        alive = KeyVersion.objects.filter(tail=part, state__in=LIVE_STATES).order_by()
        match |= Q(pk__in=few(alive, "key"))
    return match


def of_application(part: str) -> Q:
    """Match a part of the name of a key's application."""
    named = Application.objects.filter(name__icontains=part).order_by()
    return Q(application__in=few(named, "pk"))


def few(rows: QuerySet[Any], name: str) -> Any:
    """Return the values of a column; where they are many, the question for them instead.

    A database reads an index for each of several lists, and none for a list beside a question.
    """
    values = list(rows.values_list(name, flat=True)[: _FEW + 1])
    return values if len(values) <= _FEW else rows.values(name)
