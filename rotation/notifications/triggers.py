"""What people are notified of, found by looking at the rows as they are.

Nothing that happens has to remember to notify, and nothing is missed whatever crashed.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import CharField, Exists, F, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from keyvault.access import authentication, roles
from keyvault.models import ApiKey, Member
from rotation.models import HumanTask, Notification, Rotation, Step
from rotation.notifications.notify import NewNotification, notify
from rotation.notifications.recipients import URGENT, contact_of, owner_of, people_for_task, team_of

_MOST = 200
_LATELY = timedelta(days=2)
_OVERDUE_AFTER = timedelta(hours=12)
# What closes by itself when it is over; that it is over is told too.
_RECOVERS = (HumanTask.Kind.INCIDENT, HumanTask.Kind.OUTAGE, HumanTask.Kind.FINDING)


def scan() -> int:
    """Tell whatever is new; returns how many notices were made. Safe to run twice at once."""
    made = sum(_tell_task(task) for task in _new_tasks())
    made += sum(_remind(task) for task in _waiting_long())
    made += sum(_tell_over(task) for task in _over())
    made += sum(_tell_end(key) for key in _ending())
    made += sum(_tell_failed(rotation) for rotation in _failed())
    made += sum(_tell_locked(member) for member in authentication.locked_out())
    return made + sum(_tell_overdue(key) for key in _overdue())


# --- Causes ---


def _tasks() -> QuerySet[HumanTask]:
    return HumanTask.objects.select_related(
        "rotation",
        "account",
        "key__account",
        "key__environment",
        "key__application",
        "key__member",
        "key__created_by",
    )


def _told(suffix: str = "") -> Exists:
    """Match the tasks of which this was told already."""
    kinds = {"": ["task", "incident"], ":reminder": ["reminder"], ":over": ["recovery"]}[suffix]
    return Exists(Notification.objects.filter(task=OuterRef("pk"), kind__in=kinds))


def _new_tasks() -> QuerySet[HumanTask]:
    return _tasks().filter(~_told(), closed_at=None)[:_MOST]


def _tell_task(task: HumanTask) -> bool:
    urgent = task.kind in URGENT
    news = NewNotification(
        about=f"task:{task.pk}",
        kind=Notification.Kind.INCIDENT if urgent else Notification.Kind.TASK,
        title=f"{task.title}: {task.key or task.account or 'the installation'}",
        text=task.text,
        link=f"/tasks/{task.pk}/",
        urgent=urgent,
        key=task.key,
        task=task,
    )
    return notify(news, people_for_task(task), address=contact_of(task.key) if urgent else "")


def _waiting_long() -> QuerySet[HumanTask]:
    before = timezone.now() - timedelta(hours=settings.TASK_REMINDER_HOURS)
    return _tasks().filter(_told(), ~_told(":reminder"), closed_at=None, opened_at__lt=before)[
        :_MOST
    ]


def _remind(task: HumanTask) -> bool:
    """What nobody did within a day goes to the owners too."""
    news = NewNotification(
        about=f"task:{task.pk}:reminder",
        kind=Notification.Kind.REMINDER,
        title=f"Still open: {task.title} ({task.key or task.account or 'installation'})",
        text=f"Open since {task.opened_at:%Y-%m-%d %H:%M} UTC. {task.text}",
        link=f"/tasks/{task.pk}/",
        key=task.key,
        task=task,
    )
    return notify(news, [*people_for_task(task), *roles.owners()])


def _tell_locked(member: Member) -> bool:
    """Owners and the person learn once a day that somebody tries out passwords."""
    news = NewNotification(
        about=f"locked:{member.pk}:{timezone.now():%Y-%m-%d}",
        kind=Notification.Kind.INCIDENT,
        title=f"Too many wrong passwords for {member}",
        text=(
            "For a quarter of an hour at a time nobody unknown can sign in with this password. The person "
            "gets in with a passkey, and in a browser in which they signed in before. The audit log says "
            "from where it was tried."
        ),
        link=f"/people/{member.pk}/",
    )
    return notify(news, [member, *roles.owners()])


def _over() -> QuerySet[HumanTask]:
    since = timezone.now() - _LATELY
    return _tasks().filter(_told(), ~_told(":over"), kind__in=_RECOVERS, closed_at__gt=since)[
        :_MOST
    ]


def _tell_over(task: HumanTask) -> bool:
    """Tell those who were told that it had begun."""
    told = Member.objects.filter(messages__notice__task=task).distinct()
    news = NewNotification(
        about=f"task:{task.pk}:over",
        kind=Notification.Kind.RECOVERY,
        title=f"Over: {task.title} ({task.key or task.account or 'the installation'})",
        text=f"{task.outcome} It had said: {task.text}",
        link=f"/tasks/{task.pk}/",
        key=task.key,
        task=task,
    )
    return notify(news, told)


def _keys() -> QuerySet[ApiKey]:
    return ApiKey.objects.select_related(
        "account", "environment", "application", "member", "created_by", "current", "policy"
    )


def reminder_days() -> list[int]:
    """Return the rungs in days, the last one first: 30, 14, 7, 3, 1, 0 unless set otherwise."""
    return sorted({int(one) for one in settings.EXPIRY_REMINDER_DAYS}, reverse=True)


def _ending() -> list[ApiKey]:
    """Return the keys whose secret ends within the highest rung and whose present rung is not told."""
    now = timezone.now()
    first = max(reminder_days(), default=0)
    soon = _keys().filter(
        current__expires_at__lte=now + timedelta(days=first),
        current__expires_at__gt=now - _LATELY,
    )
    # What ends first comes first, so that none is passed over however many there are.
    first_to_end = soon.order_by(F("current__expires_at"))[: _MOST * 50]
    wanted = {f"expiry:{key.current_id}:{_rung(key)}": key for key in first_to_end}
    known = set(Notification.objects.filter(about__any=wanted).values_list("about", flat=True))
    return [key for about, key in wanted.items() if about not in known][:_MOST]


def _rung(key: ApiKey) -> int:
    """Return the lowest rung that has been reached: what was missed before is not made up for."""
    assert key.current is not None
    assert key.current.expires_at is not None
    left = key.current.expires_at - timezone.now()
    return min((days for days in reminder_days() if left <= timedelta(days=days)), default=0)


def _tell_end(key: ApiKey) -> bool:
    rung = _rung(key)
    assert key.current is not None
    ends = key.current.expires_at
    assert ends is not None
    over = ends <= timezone.now()
    when = "has ended" if over else "ends today" if rung == 0 else f"ends within {rung} days"
    planned = getattr(key, "policy", None)
    at = planned.next_run_at if planned and planned.enabled else None
    plan = f"It rotates by itself at {at:%Y-%m-%d %H:%M} UTC." if at else "No rotation is planned."
    news = NewNotification(
        about=f"expiry:{key.current_id}:{rung}",
        kind=Notification.Kind.EXPIRY,
        title=f"{key} {when}",
        text=f"The secret of {key} ends at {ends:%Y-%m-%d %H:%M} UTC. {plan}",
        link=f"/keys/{key.pk}/",
        urgent=rung <= 1,
        key=key,
    )
    people = owner_of(key)
    if rung <= settings.EXPIRY_NOTIFY_TEAM_DAYS or not people:
        people += team_of(key)
    if rung <= settings.EXPIRY_NOTIFY_OWNERS_DAYS or not people:
        people += roles.owners()
    contact = contact_of(key) if rung <= settings.EXPIRY_NOTIFY_TEAM_DAYS else ""
    return notify(news, people, address=contact)


def _failed() -> QuerySet[Rotation]:
    told = Exists(Notification.objects.filter(kind="failed", about=_about_failed()))
    return Rotation.objects.filter(
        ~told, step=Step.FAILED, finished_at__gt=timezone.now() - _LATELY
    ).select_related(
        "key__account",
        "key__environment",
        "key__application",
        "key__member",
        "key__created_by",
        "requested_by",
    )[:_MOST]


def _about_failed() -> Concat:
    return Concat(Value("failed:"), Cast(OuterRef("pk"), CharField()))


def _tell_failed(rotation: Rotation) -> bool:
    key = rotation.key
    news = NewNotification(
        about=f"failed:{rotation.pk}",
        kind=Notification.Kind.FAILED,
        title=f"The rotation of {key} failed",
        text=f"{rotation.outcome or rotation.last_error} Applications keep the key that they had.",
        link=f"/rotations/{rotation.pk}/",
        key=key,
    )
    asker = [rotation.requested_by] if rotation.requested_by else []
    return notify(news, [*team_of(key), *asker])


def _overdue() -> list[ApiKey]:
    late = _keys().filter(
        policy__enabled=True, policy__next_run_at__lt=timezone.now() - _OVERDUE_AFTER
    )
    wanted = {
        _about_overdue(key): key for key in late.order_by(F("policy__next_run_at"))[: _MOST * 50]
    }
    known = set(Notification.objects.filter(about__any=wanted).values_list("about", flat=True))
    return [key for about, key in wanted.items() if about not in known][:_MOST]


def _about_overdue(key: ApiKey) -> str:
    return f"overdue:{key.pk}:{key.policy.next_run_at:%Y-%m-%dT%H:%M}"


def _tell_overdue(key: ApiKey) -> bool:
    news = NewNotification(
        about=_about_overdue(key),
        kind=Notification.Kind.OVERDUE,
        title=f"The rotation of {key} is overdue",
        text=f"It was due at {key.policy.next_run_at:%Y-%m-%d %H:%M} UTC and has not begun. Look "
        "whether it is paused, whether its vendor is away, and whether the loop runs.",
        link=f"/keys/{key.pk}/",
        key=key,
    )
    return notify(news, team_of(key))
