"""Versions that wait for a rotation which never heard of them: put in reserve, so that none is stuck.

None comes about any more; older releases left one when they were cut off in the middle of a paste.
"""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.inventory import versions
from keyvault.models import KeyVersion, VersionState
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Outcome, Retry, Wait
from rotation.models import OPEN_STEPS, Rotation, Step, WaitingFor

# What an older release is just doing in two commits is not stranded yet.
_SETTLED_AFTER = timedelta(minutes=15)
_BATCH = 50
_WHY = "A paste was cut off before its rotation heard of it. The key works and is kept in reserve."


def release(key_id: int) -> int:
    """Make the key's stranded versions standbys, in a transaction that holds its open rotation's row."""
    done = 0
    for version in _stranded().filter(key=key_id):
        versions.give_back_standby(version)
        actor = system_actor("mending what was cut off")
        record(Action.VERSION_ADDED, actor, version, state=version.state, reason=_WHY)
        done += 1
    return done


def release_all() -> int:
    """Do so for every key whose version is stranded for a while, and have its rotation look at once."""
    done = 0
    old = _stranded().filter(created_at__lt=timezone.now() - _SETTLED_AFTER)
    for key_id in old.values_list("key_id", flat=True)[:_BATCH]:
        with transaction.atomic():
            rotation = Rotation.objects.filter(key=key_id, step__in=OPEN_STEPS)
            rotation.select_for_update(no_key=True).first()
            done += release(key_id)
            rotation.filter(step=Step.GENERATE).update(due_at=Now(), wake=F("wake") + 1)
    return done


def explain(held: Claim, error: IntegrityError) -> Outcome:
    """Return what to do when the database refuses a row of a step: mend what is known, else say which."""
    with held.transaction():
        released = release(held.rotation.key_id)
    if released:
        return Wait(WaitingFor.NOTHING, _WHY, 0.0)
    rule = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or "unnamed"
    return Retry(
        WaitingFor.NOTHING,
        f"The database refused what this step was to record (rule {rule}): something else holds that "
        "place. Nothing of the step was recorded, and applications keep the key that they have.",
    )


def _stranded() -> QuerySet[KeyVersion]:
    named = Rotation.objects.filter(step__in=OPEN_STEPS, new_version__isnull=False)
    return KeyVersion.objects.filter(state=VersionState.PENDING).exclude(
        pk__in=named.values("new_version")
    )
