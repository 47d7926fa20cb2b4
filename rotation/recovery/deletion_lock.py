"""After a restore nothing is deleted until people have looked: the mark that tells, and the freeze.

Postgres and Vault carry the same random mark, re-rolled each minute. Whoever restores one of them
from a backup brings an old mark back; from then on every deletion, at the vendor or in Vault, waits.
Who restores both from one moment is found by what was seen elsewhere (witness.py).
"""

import time
import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.audit.actors import Actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.failpoints import reached
from keyvault.vault import secret_store
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, RestoreMarker
from rotation.recovery import external_marker

ABOUT = "freeze"
# How long this process may rely on its last comparison of the two marks.
_TRUSTED_SECONDS = 5.0
_CLAIM = timedelta(seconds=60)
_LOOKED_INTO = (
    "Vault showed an older state, and another process is just finding out whether a standby is behind. "
    "Nothing was changed. The work goes on by itself."
)
_ACTOR = system_actor("comparison of Postgres and Vault")
_compared_at = float("-inf")


def lock_reason() -> str:
    """Return why nothing may be deleted now, or an empty text.

    Compares the marks unless this process did a moment ago; raises StoreUnavailable or StoreDenied
    when Vault does not say, since then nothing may be deleted either.
    """
    global _compared_at
    epoch = _row()
    if epoch.frozen_since:
        return epoch.frozen_why
    if time.monotonic() - _compared_at < _TRUSTED_SECONDS:
        return ""
    # guard: a witness outside both halves
    difference = _settled_difference(epoch) or external_marker.difference()
    if difference:
        lock_deletions(difference)
        return difference
    _compared_at = time.monotonic()
    return ""


def noticed_reason() -> str:
    """Return why deleting is frozen, as far as this was noticed already; asks Vault nothing."""
    return RestoreMarker.objects.filter(pk=1).values_list("frozen_why", flat=True).first() or ""


def forget() -> None:
    """Compare anew at the next question, whenever the last comparison was."""
    global _compared_at
    _compared_at = float("-inf")


def _row() -> RestoreMarker:
    return RestoreMarker.objects.get_or_create(pk=1)[0]


def _settled_difference(epoch: RestoreMarker) -> str:
    """Compare until the row stood still around the look at Vault: a roll under way is no difference."""
    while True:
        mark, writes = secret_store.read_mark()
        difference = _difference(epoch, mark)
        older = bool(difference) and writes < epoch.writes
        # guard: a lagging standby is no restore
        if older and _only_lags(epoch):
            return ""
        again = _row()
        # That look leaves a pending mark of its own behind.
        # guard: roll under way
        stood = again.current == epoch.current and (older or again.pending == epoch.pending)
        if not difference or stood:
            return difference
        epoch = again


def _only_lags(epoch: RestoreMarker) -> bool:
    """Tell a standby that answers with the past from a Vault that was restored.

    Both show an older mark. A write that must follow the last one we know of is taken by the store
    that has that one, and by no other; it is the next roll as well, and like a roll one process's.
    """
    if not _claimed():
        raise secret_store.StoreUnavailable(_LOOKED_INTO)
    try:
        if _row().current != epoch.current:
            raise secret_store.StoreUnavailable(_LOOKED_INTO)
        if _write(epoch.pending or uuid.uuid4(), epoch.writes):
            return True
        # A roll that was cut off may have written its mark: then it is one write further.
        # guard: a cut-off roll before a lag is no restore
        return epoch.pending is not None and _write(uuid.uuid4(), epoch.writes + 1)
    finally:
        RestoreMarker.objects.filter(pk=1).update(claimed_until=None)


def _difference(epoch: RestoreMarker, mark: str) -> str:
    """Say how the two marks differ; a first start, and a roll that was cut off, are no difference."""
    # guard: two-phase epoch
    known = {str(one) for one in (epoch.current, epoch.pending) if one}
    if mark in known or (not mark and epoch.current is None):
        return ""
    if not mark:
        return "Vault has lost its mark: it was restored from a backup, or emptied."
    if epoch.current is None:
        return "Vault has a mark and the database has none: the database was emptied or replaced."
    return (
        "The marks in Vault and in the database differ: one of the two was restored from a backup."
    )


def lock_deletions(reason: str) -> None:
    """Stop all deleting until a person has it thawed; once, whoever notices first."""
    with transaction.atomic():
        changed = RestoreMarker.objects.filter(pk=1, frozen_since__isnull=True).update(
            frozen_since=timezone.now(), frozen_why=reason
        )
        if not changed:
            return
        text = (
            f"{reason} No key is deleted, at the vendor or here, until this is settled. Run "
            "`manage.py reconcilekeys`, deal with what it names, then thaw; README says how."
        )
        open_alert(_ACTOR, HumanTask.Kind.FINDING, ABOUT, text)
        record(Action.DELETION_FROZEN, _ACTOR, reason=reason)


def roll_marker() -> None:
    """Give both a new mark, or freeze when they differ; one process at a time does it.

    The mark goes pending here, into Vault, current here: cut off anywhere, the next roll goes on.
    """
    if lock_reason() or not _claimed():
        return
    mark, writes = secret_store.read_mark()
    epoch = _row()
    pending, writes = epoch.pending, max(writes, epoch.writes)
    if pending and mark == str(pending):
        RestoreMarker.objects.filter(pk=1, pending=pending).update(
            current=pending, pending=None, writes=writes
        )
        pending = None
    # A roll that was cut off, or sleeps, is finished with its own mark: it may still write it.
    _write(pending or uuid.uuid4(), writes)
    external_marker.note()
    RestoreMarker.objects.filter(pk=1).update(claimed_until=None)


def _claimed() -> bool:
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lt=Now())
    return bool(RestoreMarker.objects.filter(free, pk=1).update(claimed_until=Now() + _CLAIM))


def _write(fresh: uuid.UUID, writes: int) -> bool:
    """Write the mark as the one that follows so many writes; False when Vault has others."""
    RestoreMarker.objects.filter(pk=1).update(pending=fresh)
    reached("epoch.pending")
    try:
        secret_store.write_mark(str(fresh), writes)
    except secret_store.StoreConflict:
        return False  # in a roll: another process wrote this very mark, and goes on with it
    reached("epoch.written")
    RestoreMarker.objects.filter(pk=1, pending=fresh).update(
        current=fresh, pending=None, rolled_at=timezone.now(), writes=writes + 1
    )
    return True


def unlock_deletions(actor: Actor, reason: str) -> None:
    """Let deletions go on, with a new mark in both; the caller has seen to it that all is settled."""
    _, writes = secret_store.read_mark()
    if not _write(uuid.uuid4(), writes):
        raise secret_store.StoreUnavailable(
            "Vault has a newer mark than it shows: a standby is behind. Nothing was changed. Try again "
            "in a moment."
        )
    external_marker.accept_current_log()
    with transaction.atomic():
        if not RestoreMarker.objects.filter(pk=1, frozen_since__isnull=False).update(
            frozen_since=None, frozen_why=""
        ):
            return
        close_alert(actor, HumanTask.Kind.FINDING, ABOUT, f"Thawed: {reason}"[:300])
        record(Action.DELETION_THAWED, actor, reason=reason)
    forget()
