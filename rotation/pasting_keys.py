"""The door for keys that a person made: into a rotation that waits for one, or as a standby."""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import keys, versions
from keyvault.errors import Conflict, Denied
from keyvault.keys import Added
from keyvault.models import ApiKey, Member, VersionState
from keyvault.permissions import Verb, may
from rotation.models import Rotation, Step
from rotation.workflow import nudge


def add_standby(by: Member, key: ApiKey, text: str) -> Added:
    """Keep a key made ahead of time, so that the next rotation needs no person to begin."""
    return keys.add_pasted(by, key, text, VersionState.STANDBY)


def paste_for(by: Member, rotation: Rotation, text: str) -> Added:
    """Give a waiting rotation the key that a person made; checked before it is stored.

    Raises BadInput, Conflict, Denied or Unavailable; then the rotation still waits, nothing is lost.
    """
    if not may(by, Verb.PASTE, rotation.key):
        raise Denied(_("Your role does not let you add secrets to this key."))
    _require_waiting(rotation)
    added = keys.add_pasted(by, rotation.key, text, VersionState.PENDING)
    with transaction.atomic():
        taken = Rotation.objects.filter(
            pk=rotation.pk, step=Step.GENERATE, new_version=None, cancelling=False
        ).update(
            new_version=added.version,
            proving_since=timezone.now(),
            due_at=Now(),
            wake=F("wake") + 1,
        )
        if not taken:
            # It ended meanwhile; the key works, so it is worth keeping for the next time.
            versions.give_back_standby(added.version)
    if not taken:
        raise Conflict(
            _(
                "The rotation no longer waits for a key. Yours was kept as a standby for the next one."
            )
        )
    nudge(rotation.pk)
    return added


def _require_waiting(rotation: Rotation) -> None:
    fresh = Rotation.objects.get(pk=rotation.pk)
    if fresh.step != Step.GENERATE or fresh.new_version_id or fresh.cancelling:
        raise Conflict(_("This rotation does not wait for a key (any more). Nothing was stored."))
