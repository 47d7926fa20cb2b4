"""A vendor account, or the secret store, that is away: one alert, one probe at a time, one recovery.

Rotations report failures here as they settle. After several in a row with no success between, people
are told once; from then on whatever waits for the same thing is held back, so that an outage of hours
costs a few calls and not thousands. The first success ends it and lets the others follow, spread out.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.models import VendorAccount
from rotation.engine.outcomes import Hold
from rotation.human_tasks import close_alert, open_alert
from rotation.models import OPEN_STEPS, HumanTask, Outage, Rotation, WaitingFor

TELL_AT = 5
LONGEST_PAUSE = 300.0
# How long a probe may take before another goes out in its place.
_PROBE_SECONDS = 60
# How far apart those that were held back follow when it is over.
_SPREAD_SECONDS = 0.5
_AWAY = (WaitingFor.VENDOR, WaitingFor.VAULT)

_FAILED = """
INSERT INTO rotation_outage (account_id, failures, failing_since, last_error, next_try_at)
VALUES (%s, 1, now(), %s, now())
ON CONFLICT (account_id) DO UPDATE SET
    failures = rotation_outage.failures + 1, last_error = excluded.last_error,
    next_try_at = now() + make_interval(secs => %s * LEAST(
        power(2, LEAST(rotation_outage.failures + 1, 20)), %s))
RETURNING id, told_at IS NOT NULL, failures
"""
_FOLLOW = """
UPDATE rotation_rotation SET due_at = now() + make_interval(secs => spread.place * %s)
FROM (
    SELECT waiting.id, row_number() OVER (ORDER BY waiting.due_at) AS place
    FROM rotation_rotation waiting JOIN keyvault_apikey key ON key.id = waiting.key_id
    WHERE waiting.step = ANY(%s) AND waiting.waiting_for = %s AND waiting.attempt > 0
        AND (%s::bigint IS NULL OR key.account_id = %s)
) spread
WHERE rotation_rotation.id = spread.id AND rotation_rotation.step = ANY(%s)
"""


def note_failure(rotation: Rotation, waiting_for: str, text: str, *, at_once: bool = False) -> bool:
    """Count one failure of what the rotation waits for; returns whether people know of an outage.

    With `at_once` people are told at this failure already. Call it in the transaction that settles.
    """
    account = rotation.key.account if waiting_for == WaitingFor.VENDOR else None
    # Jitter spreads load and hides nothing, so it need not be unguessable.
    jitter = random.uniform(1.0, 1.25)  # noqa: S311
    row = [account.pk if account else None, text[:500], jitter, LONGEST_PAUSE]
    with connection.cursor() as cursor:
        cursor.execute(_FAILED, row)
        outage_id, told, failures = cursor.fetchone()
    if told or (failures < TELL_AT and not at_once):
        return bool(told)
    Outage.objects.filter(pk=outage_id).update(told_at=timezone.now())
    _tell(Outage.objects.select_related("account").get(pk=outage_id))
    return True


def _tell(outage: Outage) -> None:
    actor = system_actor("outage")
    since = f"{outage.failing_since:%Y-%m-%d %H:%M:%S} UTC"
    text = (
        f"{_name(outage.account)} has not answered as it should since {since} "
        f"({outage.failures} tries failed). Rotations that need it wait and go on by themselves; "
        f"applications keep their keys. {outage.last_error}"
    )
    open_alert(
        actor, HumanTask.Kind.OUTAGE, about(outage.account), text[:500], account=outage.account
    )
    record(Action.OUTAGE_BEGAN, actor, outage, reason=outage.last_error)


def about(account: VendorAccount | None) -> str:
    """Return what an outage's alert is about, its name among the open alerts."""
    return f"outage:{account.pk}" if account else "outage:vault"


def _name(account: VendorAccount | None) -> str:
    return f"The vendor of {account}" if account else "The secret store"


def defer_while_open(rotation: Rotation) -> Hold | None:
    """Return until when a rotation that failed on an open outage is held; None when it may try.

    Whoever finds the time for a try come takes it: one probe, however many wait.
    """
    if rotation.waiting_for not in _AWAY or rotation.attempt == 0:
        return None
    account = rotation.key.account if rotation.waiting_for == WaitingFor.VENDOR else None
    known = Outage.objects.filter(account=account, told_at__isnull=False)
    lease = Now() + timedelta(seconds=_PROBE_SECONDS)
    if known.filter(next_try_at__lte=Now()).update(next_try_at=lease):
        return None
    outage = known.first()
    # guard: one probe in an outage
    return Hold(until=outage.next_try_at) if outage else None


def note_success(rotation: Rotation, before: tuple[str, int], *, moved: bool) -> None:
    """End what the rotation's success shows to be over: the outage that it waited for, if any.

    `before` is what it waited for and how often it had failed; `moved`, that a step is done, which
    no step is without the vendor and the secret store.
    """
    waited_for, attempt = before
    vendor, store = Q(account=rotation.key.account), Q(account=None)
    if moved:
        _over(vendor | store)
    elif attempt and waited_for in _AWAY:
        _over(vendor if waited_for == WaitingFor.VENDOR else store)


def _over(which: Q) -> None:
    for ended in Outage.objects.filter(which).select_related("account"):
        if not Outage.objects.filter(pk=ended.pk).delete()[0] or ended.told_at is None:
            continue
        actor = system_actor("outage")
        close_alert(actor, HumanTask.Kind.OUTAGE, about(ended.account), "It answers again.")
        record(Action.OUTAGE_ENDED, actor, ended, reason=f"after {ended.failures} failures")
        transaction.on_commit(_follow(ended.account))


def _follow(account: VendorAccount | None) -> Callable[[], None]:
    """Return what makes those that were held back due again, one after the other."""

    def follow() -> None:
        steps: list[Any] = [str(step) for step in OPEN_STEPS]
        what, which = (WaitingFor.VENDOR, account.pk) if account else (WaitingFor.VAULT, None)
        with connection.cursor() as cursor:
            cursor.execute(_FOLLOW, [_SPREAD_SECONDS, steps, what, which, which, steps])

    return follow


def covered(rotation: Rotation) -> bool:
    """Return whether an outage that people know of explains why this rotation waits."""
    account = rotation.key.account if rotation.waiting_for == WaitingFor.VENDOR else None
    away = rotation.waiting_for in _AWAY
    return away and Outage.objects.filter(account=account, told_at__isnull=False).exists()


def away_accounts() -> Any:
    """Return the ids of the accounts with a known outage, as a subquery."""
    return Outage.objects.filter(told_at__isnull=False, account__isnull=False).values("account")
