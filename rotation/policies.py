"""Set a key's policy, and start the rotations whose time has come: once each, never a storm."""

from dataclasses import dataclass
from datetime import date, time
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from keyvault.audit.log import member_actor, record, system_actor
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Denied
from keyvault.models import ApiKey, Environment, Member
from keyvault.names import require_clean
from keyvault.permissions import Verb, may
from rotation import schedule, windows
from rotation.models import OPEN_STEPS, Freeze, Reason, RotationPolicy
from rotation.workflow import create, nudge

_LONGEST_DAYS = 3650
_LOOK_AHEAD = 5
_NEXT_DUE = """
WITH busy AS (
    SELECT key.account_id, count(*) AS open
    FROM rotation_rotation rotation JOIN keyvault_apikey key ON key.id = rotation.key_id
    WHERE rotation.step = ANY(%s) AND rotation.reason = %s
    GROUP BY key.account_id
), away AS (
    SELECT account_id FROM rotation_outage WHERE told_at IS NOT NULL AND account_id IS NOT NULL
), waiting AS (
    SELECT policy.id, policy.next_run_at, version.expires_at, coalesce(busy.open, 0) + row_number()
        OVER (PARTITION BY key.account_id
            ORDER BY version.expires_at NULLS LAST, policy.next_run_at) AS place
    FROM rotation_rotationpolicy policy
    JOIN keyvault_apikey key ON key.id = policy.key_id
    LEFT JOIN keyvault_keyversion version ON version.id = key.current_id
    LEFT JOIN busy ON busy.account_id = key.account_id
    WHERE policy.enabled AND policy.next_run_at <= %s
        AND NOT EXISTS (SELECT 1 FROM rotation_pause pause WHERE pause.ends_at > now() AND
            (pause.key_id = key.id OR pause.account_id = key.account_id
                OR (pause.key_id IS NULL AND pause.account_id IS NULL)))
        AND key.account_id NOT IN (SELECT account_id FROM away)
)
SELECT id FROM waiting WHERE place <= %s
ORDER BY expires_at NULLS LAST, next_run_at LIMIT %s
"""


@dataclass(frozen=True)
class Wish:
    """A policy as a person asks for it; times in seconds, the clock time in `time_zone`."""

    every_days: int
    at_time: time
    time_zone: str
    overlap_seconds: int
    quiet_seconds: int
    enabled: bool = True
    window: str = ""


def set_policy(by: Member, key: ApiKey, wish: Wish) -> RotationPolicy:
    """Set when and how the key rotates; raises Denied, or BadInput with what does not fit."""
    if not may(by, Verb.ROTATE, key):
        raise Denied("Your role does not let you set this key's rotation policy.")
    _require_possible(wish)
    _require_open(wish, key)
    with transaction.atomic():
        policy, _ = RotationPolicy.objects.update_or_create(
            key=key, defaults={**vars(wish), "set_by": by}
        )
        schedule.plan_next(key.pk)
        record(Action.POLICY_CHANGED, member_actor(by), key, policy=str(policy))
    policy.refresh_from_db()
    return policy


def _require_possible(wish: Wish) -> None:
    if not 1 <= wish.every_days <= _LONGEST_DAYS:
        raise BadInput(f"Rotate every 1 to {_LONGEST_DAYS} days.", code="impossible_policy")
    if wish.time_zone not in available_timezones():
        raise BadInput(f"“{wish.time_zone}” is not a known time zone.", code="impossible_policy")
    if wish.overlap_seconds < 0 or wish.quiet_seconds < 1:
        raise BadInput(
            "The overlap cannot be negative, and the quiet period is at least a second: without "
            "one, nothing would show that the old key is no longer used.",
            code="impossible_policy",
        )
    if wish.overlap_seconds + wish.quiet_seconds >= wish.every_days * 86400:
        raise BadInput(
            "Overlap and quiet period together must be shorter than the interval: the next "
            "rotation would be due before this one can end.",
            code="impossible_policy",
        )
    ZoneInfo(wish.time_zone)


def _require_open(wish: Wish, key: ApiKey) -> None:
    """Refuse a window that is never open, or that a freeze covers for longer than the interval."""
    try:
        window = windows.parse(wish.window)
    except ValueError as error:
        raise BadInput(f"{error} Nothing was changed.", code="impossible_policy") from None
    frozen = schedule.frozen_days(key.environment_id)
    if windows.next_open(timezone.now(), window, frozen, ZoneInfo(wish.time_zone)) is None:
        raise BadInput(
            "With this window and the freezes on record the key could not rotate within 400 days. "
            "Nothing was changed.",
            code="impossible_policy",
        )


def add_freeze(
    by: Member, name: str, first_day: date, last_day: date, environment: Environment | None = None
) -> Freeze:
    """Keep everything (or one environment) from rotating by itself on these days; replans at once.

    Raises Denied, or BadInput when the days are in the wrong order or too many.
    """
    if not may(by, Verb.MANAGE):
        raise Denied("Only an owner of the installation may freeze rotations.")
    if not first_day <= last_day:
        raise BadInput("The freeze would end before it begins. Nothing was changed.")
    if last_day - first_day > windows.LOOK_AHEAD / 2:
        raise BadInput("A freeze may last 200 days at most. Nothing was changed.")
    freeze = Freeze(name=name.strip(), first_day=first_day, last_day=last_day)
    freeze.environment = environment
    require_clean(freeze)
    with transaction.atomic():
        freeze.save()
        replan(environment)
        record(Action.FREEZE_CHANGED, member_actor(by), freeze, added=True)
    return freeze


def end_freeze(by: Member, freeze: Freeze) -> None:
    """Remove a freeze; what it held back is planned anew at once."""
    if not may(by, Verb.MANAGE):
        raise Denied("Only an owner of the installation may end a freeze.")
    with transaction.atomic():
        record(Action.FREEZE_CHANGED, member_actor(by), freeze, added=False)
        environment = freeze.environment
        freeze.delete()
        replan(environment)


def replan(environment: Environment | None) -> None:
    """Compute anew when each key of the environment (or of all) is due."""
    policies = RotationPolicy.objects.all()
    if environment is not None:
        policies = policies.filter(key__environment=environment)
    for key_id in policies.values_list("key_id", flat=True):
        schedule.plan_next(key_id)


def start_due() -> int:
    """Start the rotations that are due, within the storm caps; returns how many were started."""
    started = 0
    for policy_id in _next_due(settings.MAX_STARTS_PER_TICK * _LOOK_AHEAD):
        if started >= settings.MAX_STARTS_PER_TICK:
            break
        started += _start_one(policy_id)
    return started


def _next_due(limit: int) -> list[int]:
    """Return the ids of the policies to start now, what expires first before the rest.

    No account gets more than it has room for, so that one with thousands due holds up no other.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _NEXT_DUE,
            [
                [str(step) for step in OPEN_STEPS],
                str(Reason.SCHEDULE),
                timezone.now(),
                settings.MAX_OPEN_PER_ACCOUNT,
                limit,
            ],
        )
        return [row[0] for row in cursor.fetchall()]


def _start_one(policy_id: int) -> int:
    """Claim one due policy, start its rotation and plan the next: one transaction, so once only."""
    try:
        with transaction.atomic():
            policy = (
                RotationPolicy.objects.select_for_update(skip_locked=True, of=("self",))
                .select_related("key__account", "key__current", "set_by")
                .filter(pk=policy_id, enabled=True, next_run_at__lte=timezone.now())
                .first()
            )
            if policy is None:
                return 0
            now = timezone.now()
            if schedule.allowed(policy, now) != now:
                # The window was missed, or a freeze began: it moves to the next one.
                schedule.plan(policy, now)
                return 0
            rotation = create(policy.key, Reason.SCHEDULE, None, scheduled_for=policy.next_run_at)
            _move_on(policy)
            by = f"schedule set up by {policy.set_by}" if policy.set_by else "schedule"
            record(Action.ROTATION_STARTED, system_actor(by), rotation, reason="schedule")
    except IntegrityError:
        _skip(policy_id)
        return 0
    nudge(rotation.pk)
    return 1


def _skip(policy_id: int) -> None:
    """A rotation is open already: this due time is served by it."""
    policy = RotationPolicy.objects.filter(pk=policy_id, next_run_at__lte=timezone.now()).first()
    if policy:
        _move_on(policy)


def _move_on(policy: RotationPolicy) -> None:
    """Plan the next run from now: however many windows were missed, one run makes up for them."""
    wanted = schedule.next_run(timezone.now(), policy.every_days, policy.at_time, policy.time_zone)
    schedule.plan(policy, wanted)
