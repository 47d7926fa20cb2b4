"""What a rotation does while its key is on hold: it waits, says why, and asks nobody to end anything."""

from collections.abc import Sequence

from keyvault import kept
from keyvault.hold_models import KeyHold
from rotation import clock
from rotation.actors import worker_actor
from rotation.human_tasks import close_alert, close_tasks, open_alert
from rotation.models import HumanTask, Reason, Rotation, WaitingFor
from rotation.outcomes import Wait

_LOOK_AGAIN = 1800.0


def wait(rotation: Rotation) -> Wait | None:
    """Return the wait of a step that would end or destroy a version; None when no hold stands."""
    return _told(rotation, kept.on(rotation.key_id))


def wait_locked(rotation: Rotation) -> Wait | None:
    """Return the same inside a transaction, in which no hold can be set before it ends."""
    return _told(rotation, kept.on_locked(rotation.key_id))


def _told(rotation: Rotation, holds: Sequence[KeyHold]) -> Wait | None:
    about = f"leaked on hold:{rotation.key_id}"
    if not holds:
        if rotation.waiting_for == WaitingFor.HOLD and rotation.reason == Reason.LEAK:
            actor = worker_actor(rotation)
            close_alert(actor, HumanTask.Kind.FINDING, about, "The hold is over.")
        return None
    actor, text = worker_actor(rotation), kept.text(holds)
    # Nobody may go on being asked to delete what must be kept.
    close_tasks(actor, rotation, text, kinds=(HumanTask.Kind.DELETE,))
    if rotation.reason == Reason.LEAK:
        leaked = f"A secret of {rotation.key} leaked and lives on. {text} An owner can lift it."
        open_alert(actor, HumanTask.Kind.FINDING, about, leaked, key=rotation.key)
    ends = [hold.ends_at for hold in holds]
    left = max((one - clock.now()).total_seconds() if one else _LOOK_AGAIN for one in ends)
    return Wait(WaitingFor.HOLD, text, min(_LOOK_AGAIN, max(1.0, left)))
