"""Write down what a try came to: the one place where a rotation's step changes.

State, history, tasks and audit row commit together, under the claim's fence.
"""

import random
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Case, DateTimeField, Value, When
from django.db.models.functions import Now

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.redaction import one_line
from rotation.engine import circuit_breaker, retirement
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import GiveUp, Hold, Move, Outcome, Park, Retry, Wait
from rotation.engine.steps import replace_in_place
from rotation.human_tasks import close_tasks, close_tasks_of_key, open_task
from rotation.models import ENDS, TASK_TEXT, HumanTask, Rotation, Step, WaitingFor
from rotation.scheduling import planner

Settled = Move | Wait | Retry | Park

MOVES: dict[str, frozenset[Step]] = {
    # Straight to verify where a key is retired and there is nothing new to give out.
    Step.GENERATE: frozenset({Step.UPDATE, Step.VERIFY, Step.ROLL_BACK}),
    Step.UPDATE: frozenset({Step.VERIFY, Step.ROLL_BACK}),
    Step.VERIFY: frozenset({Step.DELETE, Step.ROLL_BACK}),
    # Back only while nothing of ours was done to the old key, and it works.
    Step.DELETE: frozenset({Step.DONE, Step.ROLL_BACK}),
    Step.ROLL_BACK: frozenset({Step.FAILED, Step.CANCELLED}),
    Step.DONE: frozenset(),
    Step.FAILED: frozenset(),
    Step.CANCELLED: frozenset(),
}
TELL_A_PERSON_AT = 5
LONGEST_PAUSE, PARKED_PAUSE = 300.0, 600.0
_TELL_AT_ONCE_BEYOND = 900.0

_REMEMBER = """
WITH last AS (
    SELECT id, step, outcome, text FROM rotation_attempt
    WHERE rotation_id = %(rotation)s ORDER BY id DESC LIMIT 1
), again AS (
    UPDATE rotation_attempt AS attempt SET count = attempt.count + 1, last_at = %(now)s FROM last
    WHERE attempt.id = last.id
        AND (last.step, last.outcome, last.text) = (%(step)s, %(outcome)s, %(text)s)
    RETURNING attempt.id
)
INSERT INTO rotation_attempt (rotation_id, step, outcome, text, first_at, last_at, count)
SELECT %(rotation)s::bigint, %(step)s::text, %(outcome)s::text, %(text)s::text,
    %(now)s::timestamptz, %(now)s::timestamptz, 1
WHERE NOT EXISTS (SELECT FROM again)
"""


def apply_outcome(held: Claim, outcome: Outcome) -> bool:
    """Write the outcome and release the claim; returns whether there may be more to do at once.

    Whether the rotation is due again is for the next claim to find.
    """
    if isinstance(outcome, Hold):
        return _hold(held, outcome)
    said = _give_up(held, outcome) if isinstance(outcome, GiveUp) else outcome
    with held.transaction():
        # guard: cancel wins
        if _overtaken_by_cancel(held, said):
            said = Wait(WaitingFor.NOTHING, "Cancelled meanwhile.", 0.0)
        said = _weigh(held.rotation, said)
        before = (held.rotation.step, held.rotation.waiting_for)
        changes = _changes(held.rotation, said)
        changes["due_at"] = _due(held, changes["due_at"], ended=changes.get("step") in ENDS)
        held.write(**changes, claimed_until=None, nudged_at=None, lost_claims=0)
        _remember(held.rotation, before[0], said)
        _follow_up(held.rotation, before[0], said)
        _audit(held.rotation, before, said)
    return held.rotation.finished_at is None


def _hold(held: Claim, outcome: Hold) -> bool:
    """Release the claim till the next probe is due; nothing was tried, so nothing is counted."""
    due_at = _due(held, outcome.until, ended=False)
    held.write(due_at=due_at, claimed_until=None, nudged_at=None, lost_claims=0)
    return False


def _weigh(rotation: Rotation, said: Settled) -> Settled:
    """Count what fails against its vendor or store; what alone keeps failing goes to a person."""
    if not isinstance(said, Retry):
        moved = isinstance(said, Move) and said.step in (Step.UPDATE, Step.DONE)
        circuit_breaker.note_success(
            rotation, (rotation.waiting_for, rotation.attempt), moved=moved
        )
        return said
    known = False
    if said.waiting_for in (WaitingFor.VENDOR, WaitingFor.VAULT):
        long = (said.seconds or 0) > _TELL_AT_ONCE_BEYOND
        known = circuit_breaker.note_failure(rotation, said.waiting_for, said.text, at_once=long)
    # guard: one alert for an outage
    if known or rotation.attempt < TELL_A_PERSON_AT:
        return said
    return Park(
        f"{rotation.attempt + 1} tries in a row failed since "
        f"{rotation.waiting_since or rotation.step_since:%Y-%m-%d %H:%M:%S} UTC; the next one is in "
        f"{PARKED_PAUSE / 60:.0f} minutes. {said.text}"
    )


def _give_up(held: Claim, outcome: GiveUp) -> Settled:
    """From roll back there is no way further back, and a dead key is never undone: a person looks."""
    # guard: no way back to a dead key
    if Step.ROLL_BACK not in MOVES[held.rotation.step] or replace_in_place.called(held.rotation):
        return Park(outcome.text)
    held.note(last_error=one_line(outcome.text, 500))
    return Move(Step.ROLL_BACK, outcome.text)


def _overtaken_by_cancel(held: Claim, outcome: Settled) -> bool:
    """Consumers must not be given a key after a person has cancelled; the row is locked here."""
    if not (isinstance(outcome, Move) and outcome.step == Step.UPDATE):
        return False
    return held.rotation.cancelling


def _changes(rotation: Rotation, outcome: Settled) -> dict[str, Any]:
    now = db_clock.now()
    if isinstance(outcome, Move):
        return _moved(rotation, outcome)
    text = one_line(outcome.text, 500)
    waiting = WaitingFor.PERSON if isinstance(outcome, Park) else outcome.waiting_for
    changes: dict[str, Any] = {"waiting_for": waiting, "waiting_text": text}
    if waiting != rotation.waiting_for or rotation.waiting_since is None:
        changes["waiting_since"] = now
    if isinstance(outcome, Wait):
        pause = outcome.seconds
        changes["attempt"] = 0
    else:
        changes["attempt"] = rotation.attempt + 1
        changes["last_error"] = text
        pause = PARKED_PAUSE if isinstance(outcome, Park) else _pause(rotation.attempt, outcome)
    changes["due_at"] = None if pause is None else Now() + timedelta(seconds=pause)
    return changes


def _moved(rotation: Rotation, outcome: Move) -> dict[str, Any]:
    if outcome.step not in MOVES[rotation.step]:
        raise RuntimeError(f"a rotation cannot move from {rotation.step} to {outcome.step}")
    now = db_clock.now()
    changes: dict[str, Any] = {
        "step": outcome.step,
        "step_since": now,
        "waiting_for": WaitingFor.NOTHING,
        "waiting_text": "",
        "waiting_since": None,
        "attempt": 0,
        "good_answers": 0,
        "bad_answers": 0,
        "due_at": Now(),
    }
    if outcome.step in ENDS:
        changes |= {"due_at": None, "finished_at": now, "outcome": one_line(outcome.text, 500)}
    return changes


def _pause(attempt: int, outcome: Retry) -> float:
    """Return the pause before the next try: growing, spread, capped; the vendor's wish counts."""
    grown = min(2.0 ** min(attempt, 20), LONGEST_PAUSE)
    wished = min(outcome.seconds or 0.0, _TELL_AT_ONCE_BEYOND)
    return max(grown, wished) * random.uniform(1.0, 1.25)  # noqa: S311 - spread, not secrecy


def _due(held: Claim, wanted: Any, *, ended: bool) -> Any:
    """Look again at once when an event came while we were busy."""
    if ended:
        return None
    unchanged = When(wake=held.rotation.wake, then=Value(None) if wanted is None else wanted)
    # guard: wake-up while busy
    return Case(unchanged, default=Now(), output_field=DateTimeField())


def _remember(rotation: Rotation, step: str, outcome: Settled) -> None:
    """Add to the history; a try like the last one only raises its count."""
    row: dict[str, Any] = {
        "rotation": rotation.pk,
        "step": str(step),
        "outcome": type(outcome).__name__.lower(),
        "text": one_line(outcome.text, 500),
        "now": db_clock.now(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_REMEMBER, row)


def _follow_up(rotation: Rotation, before: str, outcome: Settled) -> None:
    """Open or close tasks for people, and plan the next run when this one has ended."""
    actor = worker_actor(rotation)
    if isinstance(outcome, Move) and outcome.step == Step.DONE:
        # What had failed before is mended now; the interval counts from this rotation.
        close_tasks_of_key(actor, rotation)
        if rotation.retires:
            retirement.archive(rotation)
        else:
            planner.plan_next(rotation.key_id)
    elif isinstance(outcome, Move):
        kinds: tuple[HumanTask.Kind, ...] = (
            HumanTask.Kind.LOOK,
            HumanTask.Kind.CONFIRM,
            HumanTask.Kind.INCIDENT,
        )
        if before == Step.GENERATE:
            kinds = (*kinds, HumanTask.Kind.PASTE)
        # guard: no task to delete a key that is needed
        if outcome.step == Step.ROLL_BACK:
            # The old key is needed again: nobody may go on being asked to delete it.
            kinds = (*kinds, HumanTask.Kind.DELETE)
        close_tasks(
            actor, rotation, "The rotation went on.", kinds=() if outcome.step in ENDS else kinds
        )
    failed = isinstance(outcome, Move) and outcome.step == Step.FAILED
    if failed or isinstance(outcome, Park):
        open_task(actor, rotation, HumanTask.Kind.LOOK, one_line(outcome.text, TASK_TEXT))


def _audit(rotation: Rotation, before: tuple[str, str], outcome: Settled) -> None:
    """Record each change of step or of what is waited for, last in the transaction."""
    actor = worker_actor(rotation)
    if rotation.step != before[0]:
        action = Action.ROTATION_FAILED if rotation.step == Step.FAILED else Action.ROTATION_MOVED
        record(action, actor, rotation, reason=outcome.text, was=before[0], step=rotation.step)
    elif rotation.waiting_for and rotation.waiting_for != before[1]:
        record(
            Action.ROTATION_WAITS,
            actor,
            rotation,
            reason=outcome.text,
            waiting_for=rotation.waiting_for,
        )
