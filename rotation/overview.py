"""The counts behind the charts: how old keys are, how they stand, how rotations and checks end."""

from collections import Counter
from datetime import UTC, date, timedelta

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.db.models.functions import TruncWeek
from django.utils import timezone

from keyvault.audit.models import Action, AuditEvent
from keyvault.models import ApiKey
from rotation.charts import Chart, chart, each_alone, per_day
from rotation.models import OPEN_STEPS, Rotation, Step

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


def by_age(keys: QuerySet[ApiKey]) -> Chart:
    """Return how many keys are how old, counted from when their secret came into use."""
    now = timezone.now()
    cases = [
        When(current__published_at__gt=now - timedelta(days=days), then=Value(place))
        for place, (days, _) in enumerate(_AGES)
    ]
    bucket = Case(*cases, default=Value(len(_AGES)), output_field=IntegerField())
    found = keys.filter(current__isnull=False).order_by().annotate(bucket=bucket)
    counted = dict(found.values_list("bucket").annotate(n=Count("pk")))
    labels = [*(label for _, label in _AGES), "older"]
    rows = [(label, [counted.get(place, 0)]) for place, label in enumerate(labels)]
    return chart("age", "Keys by age", [("keys", "accent")], rows)


def by_answer(keys: QuerySet[ApiKey]) -> Chart:
    """Return what vendors said last of the current secrets."""
    found = keys.filter(current__isnull=False).order_by().values_list("current__check_answer")
    counted = dict(found.annotate(n=Count("pk")))
    rows = [(word, tone, counted.get(answer, 0)) for answer, word, tone in _ANSWERS]
    return each_alone("answers", "Last check of each key", rows)


def by_state(keys: QuerySet[ApiKey]) -> Chart:
    """Return how many keys rotate, are overdue, end soon, or need nothing."""
    now = timezone.now()
    rotating = Rotation.objects.filter(step__in=OPEN_STEPS).values("key")
    state = Case(
        When(pk__in=rotating, then=Value("rotating")),
        When(policy__enabled=True, policy__next_run_at__lt=now, then=Value("overdue")),
        When(current__expires_at__lt=now + timedelta(days=30), then=Value("ending")),
        When(policy__isnull=True, then=Value("unplanned")),
        default=Value("fine"),
    )
    found = keys.order_by().annotate(stands=state).values_list("stands")
    counted = dict(found.annotate(n=Count("pk")))
    rows = [(word, tone, counted.get(code, 0)) for code, word, tone in _STATES]
    return each_alone("states", "Keys by state", rows)


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
