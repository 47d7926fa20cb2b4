"""On which days does nothing rotate by itself? The freezes on record, read once for many keys."""

from collections.abc import Sequence
from datetime import date

from django.utils import timezone

from rotation import recurrence
from rotation.models import ChangeFreeze
from rotation.scheduling import windows

Span = tuple[date, date]


class Freezes:
    """The frozen days of every environment, read once; recurring ones as far as plans look ahead."""

    def __init__(self) -> None:
        self.rows = list(ChangeFreeze.objects.select_related("environment"))
        today = timezone.now().date()
        self._spans = [(one, spans_of(one, today)) for one in self.rows]

    def of(self, environment_id: int) -> list[Span]:
        """Return the frozen days that count for an environment."""
        return [
            span
            for one, spans in self._spans
            if one.environment_id in (None, environment_id)
            for span in spans
        ]

    def between(self, first: date, last: date) -> list[tuple[ChangeFreeze, Span]]:
        """Return the freezes with each of their ranges that touches these days."""
        return [
            (one, span)
            for one in self.rows
            for span in spans_of(one, first, last)
            if span[0] <= last and span[1] >= first
        ]


def spans_of(freeze: ChangeFreeze, since: date, until: date | None = None) -> list[Span]:
    """Return the ranges of days that a freeze covers from `since` on, as far as plans look ahead."""
    if not freeze.rule:
        return [(freeze.first_day, freeze.last_day)]
    length = freeze.last_day - freeze.first_day
    until = until or since + 2 * windows.LOOK_AHEAD
    return recurrence.spans(
        freeze.rule, freeze.first_day, length, until, since - windows.LOOK_AHEAD
    )


def covering(rows: Sequence[tuple[ChangeFreeze, Span]], day: date) -> list[ChangeFreeze]:
    """Return the freezes of these that cover a day."""
    return [one for one, (first, last) in rows if first <= day <= last]
