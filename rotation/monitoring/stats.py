"""The counts behind the charts: how old keys are, how they stand, how rotations and checks end."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

from django.db.models import (
    Case,
    Count,
    Exists,
    IntegerField,
    OuterRef,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import TruncWeek
from django.utils import timezone

from keyvault.audit.models import Action, AuditEvent
from keyvault.models import ApiKey
from rotation.models import OPEN_STEPS, Rotation, Step
from rotation.monitoring.cached_counts import LONG_SECONDS, CachedCounts, Counted
from rotation.monitoring.charts import Chart, chart, each_alone, per_day

_AGES = ((30, "< 30 d"), (60, "30–60 d"), (90, "60–90 d"), (180, "90–180 d"), (365, "180–365 d"))
_WEEKS, _DAYS, _MOST_FETCHES = 12, 30, 20_000
_ENDS = (
    (Step.DONE, "done", "good"),
    (Step.FAILED, "failed", "bad"),
    (Step.CANCELLED, "cancelled", "calm"),
)
_ANSWERS = (
    ("valid", "valid", "good"),
    ("cannot_tell", "cannot tell", "warn"),
    ("refused", "refused", "bad"),
    ("", "not asked", "calm"),
)
_STATES = (
    ("fine", "fine", "good"),
    ("rotating", "rotating", "info"),
    ("ending", "ends in 30 days", "warn"),
    ("overdue", "overdue", "bad"),
    ("unplanned", "without a policy", "calm"),
)
_lately: "CachedCounts[Standing]" = CachedCounts()


@dataclass(frozen=True)
class Standing:
    """How many keys stand how: (age bucket, last answer, state) with their count."""

    counts: Counter[tuple[int, str, str]]

    def _by(self, place: int) -> Counter[Any]:
        summed: Counter[Any] = Counter()
        for kind, count in self.counts.items():
            summed[kind[place]] += count
        return summed

    def by_age(self) -> Chart:
        """Return how many keys are how old, counted from when their secret came into use."""
        counted = self._by(0)
        labels = [*(label for _, label in _AGES), "older"]
        rows = [(label, [counted[place]]) for place, label in enumerate(labels)]
        return chart("age", "Keys by age", [("keys", "accent")], rows)

    def by_answer(self) -> Chart:
        """Return what vendors said last of the current secrets."""
        counted = self._by(1)
        rows = [(word, tone, counted[answer]) for answer, word, tone in _ANSWERS]
        return each_alone("answers", "Last check of each key", rows)

    def by_state(self) -> Chart:
        """Return how many keys rotate, are overdue, end soon, or need nothing."""
        counted = self._by(2)
        rows = [(word, tone, counted[code]) for code, word, tone in _STATES]
        return each_alone("states", "Keys by state", rows)


def standing(keys: QuerySet[ApiKey], long_seconds: float = LONG_SECONDS) -> Counted[Standing]:
    """Count these keys in one pass; the same for a minute, where that takes `long_seconds`."""
    # The statement names what the person may see: another role is another question.
    return _lately.ask(str(keys.query), lambda: _counted(keys), long_seconds)


def forget() -> None:
    """Count anew the next time."""
    _lately.forget()


def _counted(keys: QuerySet[ApiKey]) -> Standing:
    now = timezone.now()
    ages = [
        When(current__published_at__gt=now - timedelta(days=days), then=Value(place))
        for place, (days, _) in enumerate(_AGES)
    ]
    moving = Rotation.objects.filter(key=OuterRef("pk"), step__in=OPEN_STEPS)
    stands = Case(
        When(Exists(moving), then=Value("rotating")),
        When(policy__enabled=True, policy__next_run_at__lt=now, then=Value("overdue")),
        When(current__expires_at__lt=now + timedelta(days=30), then=Value("ending")),
        When(policy__isnull=True, then=Value("unplanned")),
        default=Value("fine"),
    )
    bucket = Case(*ages, default=Value(len(_AGES)), output_field=IntegerField())
    found = keys.filter(current__isnull=False).order_by().annotate(bucket=bucket, stands=stands)
    rows = found.values_list("bucket", "current__check_answer", "stands").annotate(n=Count("pk"))
    return Standing(Counter({row[:3]: row[3] for row in rows}))


def per_week(keys: QuerySet[ApiKey]) -> Chart:
    """Return how the rotations of the last twelve weeks ended."""
    today = timezone.now().astimezone(UTC).date()
    first = today - timedelta(days=today.weekday(), weeks=_WEEKS - 1)
    ended = Rotation.objects.filter(
        key__in=keys.order_by().values("pk"), finished_at__date__gte=first
    )
    found = ended.order_by().annotate(week=TruncWeek("finished_at", tzinfo=UTC))
    counted = {
        (week.date(), step): n
        for week, step, n in found.values_list("week", "step").annotate(n=Count("pk"))
    }
    rows = []
    for number in range(_WEEKS):
        week = first + timedelta(weeks=number)
        rows.append((f"{week:%d %b}", [counted.get((week, step), 0) for step, _, _ in _ENDS]))
    return chart("weeks", "Rotations per week", [(word, tone) for _, word, tone in _ENDS], rows)


def fetches(key: ApiKey) -> Chart:
    """Return how often the key was fetched on each of the last 30 days (UTC), of 20,000 at most."""
    now = timezone.now()
    rows = AuditEvent.objects.filter(
        key_id=key.pk,
        action=Action.SECRET_FETCHED,
        outcome="ok",
        at__gte=now - timedelta(days=_DAYS),
    )
    times = rows.order_by("-seq").values_list("at", flat=True)[:_MOST_FETCHES]
    per: Counter[date] = Counter(at.astimezone(UTC).date() for at in times)
    days = per_day(per, now.astimezone(UTC).date(), _DAYS)
    return chart("fetches", "Fetches per day", [("fetches", "accent")], days)
