"""The door for keys that a person made: into a rotation that waits for one, or as a standby."""

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.access.permissions import Permission, may
from keyvault.core.errors import Conflict, Denied
from keyvault.inventory import keys, versions
from keyvault.inventory.keys import Added
from keyvault.models import ApiKey, KeyVersion, Member, VersionState
from rotation.engine import stranded_versions
from rotation.models import Rotation, Step
from rotation.queue import look_now, nudge, open_rotation


def add_standby(by: Member, key: ApiKey, text: str, *, as_it_is: bool = False) -> Added:
    """Keep a key made ahead of time, so that the next rotation needs no person to begin.

    A rotation that waits for a key just now looks at it at once.
    """
    running = open_rotation(key)
    if key.archived_at or (running and running.retires):
        raise Conflict("This key is retired, or being so. Nothing was stored.")
    added = keys.add_pasted(by, key, text, VersionState.STANDBY, as_it_is=as_it_is)
    rotation = open_rotation(key)
    if rotation and rotation.step == Step.GENERATE:
        look_now(rotation)
    return added


def paste_for(by: Member, rotation: Rotation, text: str, *, as_it_is: bool = False) -> Added:
    """Give a waiting rotation the key that a person made; checked before it is stored.

    The version and that the rotation has it are one commit: a crash leaves both or neither. Raises
    BadInput, Conflict, Denied or Unavailable; then the rotation still waits, nothing is lost.
    """
    if not may(by, Permission.PASTE, rotation.key):
        raise Denied("Your role does not let you add secrets to this key.")
    _require_waiting(rotation)

    def into(version: KeyVersion) -> None:
        _give(rotation, version)

    added = keys.add_pasted(by, rotation.key, text, VersionState.PENDING, into, as_it_is=as_it_is)
    if added.version.state == VersionState.STANDBY:
        raise Conflict(
            "The rotation no longer waits for a key. Yours was kept as a standby for the next one."
        )
    nudge(rotation.pk)
    return added


def _give(rotation: Rotation, version: KeyVersion) -> None:
    """Save the version as the rotation's; as a standby if it ended meanwhile: the key works, after all.

    The rotation's row is locked first, as each worker does.
    """
    waiting = Rotation.objects.select_for_update(no_key=True).filter(
        pk=rotation.pk, step=Step.GENERATE, new_version=None, cancelling=False
    )
    if not waiting.exists():
        version.state = VersionState.STANDBY
        versions.save_next(version)
        return
    # guard: paste over a stranded version
    stranded_versions.release(rotation.key_id)
    versions.save_next(version)
    Rotation.objects.filter(pk=rotation.pk).update(
        new_version=version, proving_since=timezone.now(), due_at=Now(), wake=F("wake") + 1
    )


def _require_waiting(rotation: Rotation) -> None:
    fresh = Rotation.objects.get(pk=rotation.pk)
    if fresh.step != Step.GENERATE or fresh.new_version_id or fresh.cancelling:
        raise Conflict("This rotation does not wait for a key (any more). Nothing was stored.")
