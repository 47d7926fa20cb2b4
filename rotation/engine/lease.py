"""A claim on a rotation: only its holder may write, and only while nobody has claimed anew.

The fence is raised by each claim and demanded by each later write; a worker that was frozen past
its lease finds no row to write to and stops. No lock is held across a call to the outside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from keyvault.core import db_clock
from keyvault.inventory import versions
from keyvault.models import ApiKey, KeyVersion
from keyvault.vendors.base import CheckResult
from rotation.models import OPEN_STEPS, Rotation

LEASE_SECONDS = 90

# guard: claim
_CLAIM = """
UPDATE rotation_rotation SET fence = fence + 1,
    lost_claims = CASE WHEN claimed_until IS NULL THEN 0 ELSE lost_claims + 1 END,
    claimed_until = now() + make_interval(secs => %s)
WHERE id = %s AND step = ANY(%s) AND due_at <= now()
    AND (claimed_until IS NULL OR claimed_until < now())
RETURNING fence, clock_timestamp()
"""
# guard: fence of a transaction
# guard: lock of a transaction
_LOCK = """
SELECT cancelling FROM rotation_rotation WHERE id = %s AND fence = %s FOR NO KEY UPDATE
"""


class ClaimLost(Exception):
    """Another worker has claimed the rotation: stop, and do nothing more."""


class Claim:
    """The right to move one rotation, as long as its fence is the latest."""

    def __init__(self, rotation: Rotation, fence: int) -> None:
        self.rotation = rotation
        self.fence = fence
        self._noted: dict[str, Any] = {}
        self._checked: dict[int, KeyVersion] = {}

    def note(self, **changes: Any) -> None:
        """Change the rotation's row with the next write; for what a repeat would find out anew."""
        self._noted |= changes
        self._take_over(changes)

    def note_check(self, version: KeyVersion, verdict: CheckResult) -> None:
        """Note a vendor's verdict on a version; saved with the next transaction of the claim."""
        versions.note_verdict(version, verdict)
        version.checked_at = (
            db_clock.now()
        )  # compared with times of the vendor, whatever this machine's say
        self._checked[version.pk] = version

    def write(self, **changes: Any) -> None:
        """Change the rotation's row if the fence still holds, else raise ClaimLost."""
        changes = self._noted | changes
        # guard: fence
        if not Rotation.objects.filter(pk=self.rotation.pk, fence=self.fence).update(**changes):
            raise ClaimLost
        self._noted = {}
        self._take_over(changes)

    def _take_over(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self.rotation, name, value)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction that first locks the row under our fence; ClaimLost when it is not ours.

        Whether a person has cancelled is read under the lock, and stands until the transaction ends.
        """
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK, [self.rotation.pk, self.fence])
            row = cursor.fetchone()
            if row is None:
                raise ClaimLost
            # guard: cancel read under the lock
            (self.rotation.cancelling,) = row
            for version in self._checked.values():
                versions.save_noted(version)
            yield
        self._checked = {}

    def still_ours(self) -> bool:
        """Return whether nobody has claimed the rotation since, and the lease has not run out."""
        return Rotation.objects.filter(
            pk=self.rotation.pk, fence=self.fence, claimed_until__gt=Now()
        ).exists()


def claim(rotation_id: int) -> Claim | None:
    """Claim a due rotation in one statement; None when it is not due, ended, or held by another."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [LEASE_SECONDS, rotation_id, [str(step) for step in OPEN_STEPS]])
        row = cursor.fetchone()
    if row is None:
        return None
    db_clock.learn(row[1])
    return Claim(_whole(rotation_id), row[0])


def _whole(rotation_id: int) -> Rotation:
    """Return the rotation with all that its steps read of others.

    In two statements: to plan one over nine tables costs Postgres more than all the rest of a step.
    """
    rotation = Rotation.objects.select_related("old_version", "new_version", "requested_by").get(
        pk=rotation_id
    )
    rotation.key = ApiKey.objects.select_related("account", "environment").get(pk=rotation.key_id)
    for version in (rotation.old_version, rotation.new_version):
        if version is not None:
            version.key = rotation.key
    return rotation
