"""Start the rotations whose time has come: each once, never a storm."""

from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from rotation.engine.lifecycle import create
from rotation.models import AT_REST, OPEN_STEPS, Reason, RotationPolicy
from rotation.queue import nudge
from rotation.scheduling import next_run, planner
from rotation.scheduling.freeze_days import Freezes, Span

_LOOK_AHEAD = 5
# Two keys of one application never move at once. One that waits for a person at the vendor, before
# anything was published or after all had moved, keeps no other from rotating.
# guard: a sibling that moves
# guard: pauses hold
# guard: siblings of one tick
# guard: soonest expiry first
# guard: storm cap
_NEXT_DUE = """
WITH busy AS (
    SELECT key.account_id, count(*) AS open
    FROM rotation_rotation rotation JOIN keyvault_apikey key ON key.id = rotation.key_id
    WHERE rotation.step = ANY(%s) AND rotation.reason = %s AND rotation.waiting_for <> 'hold'
    GROUP BY key.account_id
), away AS (
    SELECT account_id FROM rotation_outage WHERE told_at IS NOT NULL AND account_id IS NOT NULL
), moving AS (
    SELECT key.id AS key_id, key.application_id
    FROM rotation_rotation rotation JOIN keyvault_apikey key ON key.id = rotation.key_id
    WHERE rotation.step = ANY(%s) AND rotation.waiting_for <> ALL(%s)
), waiting AS (
    SELECT policy.id, policy.next_run_at, version.expires_at, key.account_id,
        row_number() OVER (PARTITION BY coalesce(key.application_id, -key.id)
            ORDER BY version.expires_at NULLS LAST, policy.next_run_at, policy.id) AS among_its_own
    FROM rotation_rotationpolicy policy
    JOIN keyvault_apikey key ON key.id = policy.key_id
    LEFT JOIN keyvault_keyversion version ON version.id = key.current_id
    WHERE policy.enabled AND policy.next_run_at <= %s
        AND NOT EXISTS (SELECT 1 FROM rotation_pause pause WHERE pause.ends_at > now() AND
            (pause.key_id = key.id OR pause.account_id = key.account_id
                OR (pause.key_id IS NULL AND pause.account_id IS NULL)))
        AND key.account_id NOT IN (SELECT account_id FROM away)
        AND (version.expires_at < now() + interval '1 day' OR NOT EXISTS (SELECT 1 FROM moving
            WHERE moving.application_id = key.application_id AND moving.key_id <> key.id))
), placed AS (
    SELECT waiting.id, next_run_at, expires_at, coalesce(busy.open, 0) + row_number()
        OVER (PARTITION BY waiting.account_id ORDER BY expires_at NULLS LAST, next_run_at) AS place
    FROM waiting LEFT JOIN busy ON busy.account_id = waiting.account_id
    WHERE among_its_own = 1
)
SELECT id FROM placed WHERE place <= %s
ORDER BY expires_at NULLS LAST, next_run_at LIMIT %s
"""


def start_due() -> int:
    """Start the rotations that are due, within the storm caps; returns how many were started."""
    started, freezes = 0, Freezes()
    for policy_id in _next_due(settings.MAX_STARTS_PER_TICK * _LOOK_AHEAD):
        if started >= settings.MAX_STARTS_PER_TICK:
            break
        started += _start_one(policy_id, freezes)
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
                [str(step) for step in OPEN_STEPS],
                [str(one) for one in AT_REST],
                timezone.now(),
                settings.MAX_ROTATIONS_PER_ACCOUNT,
                limit,
            ],
        )
        return [row[0] for row in cursor.fetchall()]


def _start_one(policy_id: int, freezes: Freezes) -> int:
    """Claim one due policy, start its rotation and plan the next: one transaction, so once only."""
    try:
        with transaction.atomic():
            # guard: due once
            policy = (
                RotationPolicy.objects.select_for_update(skip_locked=True, of=("self",))
                .select_related("key__account", "key__current", "set_by")
                .filter(pk=policy_id, enabled=True, next_run_at__lte=timezone.now())
                .first()
            )
            if policy is None:
                return 0
            now = timezone.now()
            frozen = freezes.of(policy.key.environment_id)
            # guard: nothing outside its window
            if not _may_begin(policy, now, frozen):
                # The window was missed, or a freeze began: it moves to the next one.
                planner.plan(policy, now, frozen)
                return 0
            rotation = create(policy.key, Reason.SCHEDULE, None, scheduled_for=policy.next_run_at)
            _move_on(policy, frozen)
            by = f"schedule set up by {policy.set_by}" if policy.set_by else "schedule"
            record(Action.ROTATION_STARTED, system_actor(by), rotation, reason="schedule")
    except IntegrityError:
        _skip(policy_id, freezes)
        return 0
    nudge(rotation.pk)
    return 1


def _may_begin(policy: RotationPolicy, now: datetime, frozen: list[Span]) -> bool:
    if planner.allowed(policy, now, frozen) == now:
        return True
    return planner.may_run_late(policy, now, frozen)


def _skip(policy_id: int, freezes: Freezes) -> None:
    """A rotation is open already: this due time is served by it."""
    policy = RotationPolicy.objects.filter(pk=policy_id, next_run_at__lte=timezone.now()).first()
    if policy:
        _move_on(policy, freezes.of(policy.key.environment_id))


def _move_on(policy: RotationPolicy, frozen: list[Span]) -> None:
    """Plan the next run from now: however many windows were missed, one run makes up for them."""
    planner.plan(policy, next_run.following(timezone.now(), policy), frozen)
