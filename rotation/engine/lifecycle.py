"""What people do to rotations: start, cancel, retry, waive and look again.

Postgres is the only truth. Each act is one transaction with its audit row; the worker is nudged
after the commit, and a lost nudge is found by the next tick.
"""

from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.models import ApiKey, Member
from keyvault.models.approvals import ApprovalAction
from rotation.consumers import holders
from rotation.engine.steps import replace_in_place
from rotation.models import OPEN_STEPS, Intent, Reason, Rotation, Step, WaitingFor
from rotation.queue import look_now, nudge, open_rotation, wake

_REASON_LEAST = 5
_MOST_NAMED = 50


def start(
    by: Member,
    key: ApiKey,
    reason: Reason = Reason.MANUAL,
    *,
    overlap_seconds: int | None = None,
    accept_outage: str = "",
) -> tuple[Rotation, bool]:
    """Start a rotation of `key`, or join the one that is open: returns it and whether it is new.

    Raises Denied when `by` may not rotate the key. A leak turns an open run into one that waits
    for nobody. `accept_outage` is the reason for which `by` agrees that a vendor without overlap
    ends the old key at once; without it, the rotation waits for someone's agreement.
    """
    if not may(by, Permission.ROTATE, key):
        raise Denied("Your role does not let you rotate this key.")
    _refuse_retired(key, reason)
    asked = [_outage(by, key, accept_outage)] if accept_outage else []
    if reason != Reason.LEAK:
        # A leak waits for nobody.
        parameters = {"key": key.pk, "reason": reason, "overlap": overlap_seconds}
        asked.append(
            Asked(
                ApprovalAction.ROTATION, f"Rotate {key}, as “{reason.label}”", parameters, key=key
            )
        )
    approvals.require(by, *asked)
    try:
        with transaction.atomic():
            rotation = create(key, reason, by, overlap_seconds=overlap_seconds)
            record(Action.ROTATION_STARTED, member_actor(by), rotation, reason=reason)
    # guard: one open rotation
    except IntegrityError:
        return _join(by, key, reason), False
    if accept_outage:
        _note_waiver(by, rotation, accept_outage)
    nudge(rotation.pk)
    return rotation, True


def _refuse_retired(key: ApiKey, reason: Reason) -> None:
    """Raise Conflict for a key that is retired, or being so; a leak hastens the latter."""
    if ApiKey.objects.filter(pk=key.pk, archived_at__isnull=False).exists():
        raise Conflict("This key is retired. Nothing was started; record a new one.")
    running = open_rotation(key)
    if running and running.retires and reason != Reason.LEAK:
        raise Conflict("This key is being retired: cancel that first. Nothing was started.")


def _outage(by: Member, key: ApiKey, reason: str) -> Asked:
    """Refuse an agreement that would come to nothing, and return what it asks of a second person."""
    if not provider_of(key.account).replaces_in_place:
        raise BadInput(
            (
                "This vendor lets old and new key overlap: there is no outage to accept. Nothing was "
                "started; leave the reason out."
            ),
            code="no_outage",
        )
    if not may(by, Permission.WAIVE, key):
        raise Denied("Your role does not let you accept an outage of this key's applications.")
    _require_reason(reason)
    what = f"Accept that applications of {key} are refused for a while: {reason.strip()}"
    parameters = {"key": key.pk, "waiver": reason.strip()}
    return Asked(ApprovalAction.WAIVER, what, parameters, key=key, reason=reason)


def create(
    key: ApiKey,
    reason: Reason,
    by: Member | None,
    *,
    overlap_seconds: int | None = None,
    scheduled_for: datetime | None = None,
) -> Rotation:
    """Insert a new rotation in the caller's transaction; IntegrityError if one is open."""
    current, overlap, quiet = ApiKey.objects.values_list(
        "current_id", "policy__overlap_seconds", "policy__quiet_seconds"
    ).get(pk=key.pk)
    if overlap_seconds is None:
        overlap_seconds = settings.DEFAULT_OVERLAP_SECONDS if overlap is None else overlap
    return Rotation.objects.create(
        key=key,
        reason=reason,
        requested_by=by,
        scheduled_for=scheduled_for,
        old_version_id=current,
        overlap_seconds=overlap_seconds,
        quiet_seconds=_default_quiet(key, current) if quiet is None else quiet,
        step_since=timezone.now(),
        due_at=Now(),
    )


def _default_quiet(key: ApiKey, version_id: int | None) -> int:
    """Return the quiet period where no policy says: never shorter than a holder stays away."""
    least: int = settings.DEFAULT_QUIET_SECONDS
    # guard: the default quiet period follows the slowest holder
    return max(least, holders.slowest(key, version_id))


def _join(by: Member, key: ApiKey, reason: Reason) -> Rotation:
    rotation = open_rotation(key)
    if rotation is None:
        raise Conflict("The rotation that was open has just ended. Start again if still needed.")
    if reason == Reason.LEAK and rotation.reason != Reason.LEAK:
        with transaction.atomic():
            Rotation.objects.filter(pk=rotation.pk).update(reason=Reason.LEAK)
            wake(rotation)
            record(Action.ROTATION_STARTED, member_actor(by), rotation, reason="turned into a leak")
        nudge(rotation.pk)
    return rotation


def cancel(by: Member, rotation: Rotation) -> None:
    """End a rotation before consumers were given the new secret; Conflict when it is past that."""
    _require(by, Permission.ROTATE, rotation)
    with transaction.atomic():
        # A call that ends the old key commits its intent under the same lock.
        Rotation.objects.select_for_update().get(pk=rotation.pk)
        # guard: no cancel of a dead key
        if replace_in_place.called(rotation):
            raise Conflict(
                "This rotation can no longer be cancelled: the vendor was asked to replace the key, "
                "and the old one is dead or may be. It goes on until a new key is in use."
            )
        changed = Rotation.objects.filter(
            pk=rotation.pk, step__in=_until_when(rotation), cancelling=False
        ).update(cancelling=True)
        if not changed:
            raise Conflict(
                f"This rotation can no longer be cancelled: {_where(rotation)} It goes on, or rolls back by "
                "itself if the new key fails."
            )
        wake(rotation)
        record(Action.ROTATION_CANCELLED, member_actor(by), rotation)
    nudge(rotation.pk)


def can_cancel(rotation: Rotation) -> bool:
    """Return whether the rotation is at a point where it can be cancelled."""
    return rotation.step in _until_when(rotation)


def _until_when(rotation: Rotation) -> tuple[Step, ...]:
    """Return the steps in which it can be cancelled: a retirement until its intents are committed."""
    if rotation.retires and not rotation.intents.filter(kind=Intent.Kind.DELETE).exists():
        return (Step.GENERATE, Step.VERIFY, Step.DELETE)
    return (Step.GENERATE,)


def retry(by: Member, rotation: Rotation) -> None:
    """Look again now at an open rotation, with its counters of failures set back."""
    _require(by, Permission.ROTATE, rotation)
    with transaction.atomic():
        if not Rotation.objects.filter(pk=rotation.pk, step__in=OPEN_STEPS).update(
            attempt=0, lost_claims=0
        ):
            raise Conflict(f"This rotation has ended: {_where(rotation)} Start a new one.")
        if not provider_of(rotation.key.account).can_list:
            # Nobody can look by program; that the person has looked is what this button says.
            rotation.intents.filter(kind=Intent.Kind.CREATE, state=Intent.State.OPEN).update(
                state=Intent.State.ABANDONED,
                settled_at=timezone.now(),
                outcome=f"{by} looked at the vendor.",
            )
        wake(rotation)
        record(Action.ROTATION_RETRIED, member_actor(by), rotation)
    nudge(rotation.pk)


def waive(by: Member, rotation: Rotation, reason: str) -> None:
    """Take responsibility for ending the old key without proof that all consumers moved.

    At a vendor that replaces in place this comes before the new key is made, else after the switch.
    """
    _require(by, Permission.WAIVE, rotation)
    _require_reason(reason)
    what = f"End the old key of {rotation.key} without proof: {reason.strip()}"
    parameters = {"rotation": rotation.pk, "waiver": reason.strip()}
    approvals.require(
        by, Asked(ApprovalAction.WAIVER, what, parameters, key=rotation.key, reason=reason)
    )
    _note_waiver(by, rotation, reason)


def may_be_waived(rotation: Rotation) -> bool:
    """Return whether there is something to confirm now, and somebody for whom nobody did yet."""
    in_place = provider_of(rotation.key.account).replaces_in_place
    # On the way back too, where it waits for those that hold a new secret that was lost; and where
    # somebody came while it was about to end the old key.
    waits = rotation.waiting_for
    fits = (
        rotation.step == Step.VERIFY
        or (rotation.step == Step.GENERATE and in_place)
        or (rotation.step == Step.ROLL_BACK and waits == WaitingFor.ADOPTION)
        or (rotation.step == Step.DELETE and waits in (WaitingFor.ADOPTION, WaitingFor.QUIET))
    )
    return fits and holders.may_be_waived_again(rotation)


def _note_waiver(by: Member, rotation: Rotation, reason: str) -> None:
    with transaction.atomic():
        locked = Rotation.objects.select_for_update(of=("self",)).select_related("key__account")
        run = locked.get(pk=rotation.pk)
        if not may_be_waived(run):
            raise Conflict(f"There is nothing to confirm now: {_where(rotation)}")
        left = holders.left(run)
        named = run.step in (Step.VERIFY, Step.DELETE)
        spoken_for: dict[str, int] = {}
        for one in left:
            spoken_for |= one.identities()
        Rotation.objects.filter(pk=run.pk).update(
            waived_by=by,
            waived_at=timezone.now(),
            waiver_reason=reason.strip()[:500],
            waived_holders=spoken_for if named else None,
        )
        wake(rotation)
        # By name: this is the one way past somebody who holds the old key.
        outvoted = [one.name for one in left[:_MOST_NAMED]]
        actor = member_actor(by)
        # guard: a waiver names whom it outvotes
        record(Action.ADOPTION_WAIVED, actor, rotation, reason=reason, not_moved=outvoted)
    nudge(rotation.pk)


def _require_reason(reason: str) -> None:
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput("Say how you know that nothing needs the old key; it goes on record.")


def ask_again(by: Member, rotation: Rotation) -> None:
    """Have the vendor asked again now, since a person says that they did their part there."""
    _require(by, Permission.PASTE, rotation)
    look_now(rotation)


def _require(by: Member, verb: Permission, rotation: Rotation) -> None:
    if not may(by, verb, rotation.key):
        raise Denied("Your role does not let you do this to this key's rotations.")


def _where(rotation: Rotation) -> str:
    rotation.refresh_from_db(fields=["step", "waiting_for"])
    return f"it is at “{rotation.get_step_display().lower()}”."
