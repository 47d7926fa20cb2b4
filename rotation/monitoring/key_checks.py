"""Ask vendors about each current key on its own day, so that nobody learns from an outage.

A key that is refused twice in a row outside a rotation is an incident at once. "Cannot tell" three
times is the vendor's problem, one alert an account, unless a neighbour of the key has a verdict: then
it is the key's own. The calls stay within what the account allows.
"""

import logging
import random
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from keyvault.audit.actors import member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict, KeyServiceError
from keyvault.inventory import keys, versions
from keyvault.inventory.vendor_gateway import check_secret
from keyvault.models import ApiKey, KeyVersion, Member, VendorAccount
from keyvault.vendors.base import REFUSED, VALID, CheckResult
from rotation.engine.check_budget import allowed_interval, interval_of
from rotation.human_tasks import close_alert, key_of, open_alert
from rotation.models import OPEN_STEPS, AccountUsage, HumanTask, KeyCheckSchedule

log = logging.getLogger(__name__)

REFUSALS, UNCLEAR = 2, 3
WARN_PERCENT = 80
_BATCH = 200
_LEASE = timedelta(minutes=10)
_AGAIN, _AFTER_INCIDENT = timedelta(minutes=1), timedelta(hours=1)
_ACTOR = system_actor("watch of current keys")

# A rotation that waits for a hold to end may do so for years, and its key is watched meanwhile.
# Keys that are not watched yet are spread over their first interval.
_ADOPT = """
INSERT INTO rotation_watch (key_id, next_check_at, refusals, unclear)
SELECT id, now() + random() * make_interval(secs => %s), 0, 0 FROM keyvault_apikey key
WHERE current_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM rotation_watch watch WHERE watch.key_id = key.id)
LIMIT %s ON CONFLICT DO NOTHING
"""
_CLAIM = """
WITH chosen AS (
    SELECT watch.id FROM rotation_watch watch JOIN keyvault_apikey key ON key.id = watch.key_id
    WHERE watch.next_check_at <= now() AND key.current_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM rotation_rotation rotation
            WHERE rotation.key_id = key.id AND rotation.step = ANY(%s)
                AND rotation.waiting_for <> 'hold')
        AND NOT EXISTS (SELECT 1 FROM rotation_outage outage WHERE outage.told_at IS NOT NULL
            AND (outage.account_id = key.account_id OR outage.account_id IS NULL))
    ORDER BY watch.next_check_at LIMIT %s FOR UPDATE OF watch SKIP LOCKED
)
UPDATE rotation_watch SET next_check_at = now() + make_interval(secs => %s)
FROM chosen WHERE rotation_watch.id = chosen.id RETURNING rotation_watch.key_id
"""


def claim_due() -> list[int]:
    """Return the keys to ask about now; each is given out once, and again if nobody asks in time."""
    with connection.cursor() as cursor:
        cursor.execute(_ADOPT, [settings.KEY_CHECK_INTERVAL_HOURS * 3600, _BATCH * 10])
        steps = [str(step) for step in OPEN_STEPS]
        cursor.execute(_CLAIM, [steps, _BATCH, _LEASE.total_seconds()])
        return [row[0] for row in cursor.fetchall()]


def check(key_id: int) -> None:
    """Ask the vendor about the key's current secret, and note what follows from the answer."""
    key = ApiKey.objects.select_related("account", "environment", "current").get(pk=key_id)
    if key.current is None:
        return
    try:
        result = check_secret(key.account, versions.read_secret(key.current))
    except KeyServiceError as error:
        # The secret store has alerts of its own; the lease brings the key back.
        log.warning("current key not checked", extra={"key": key_id, "reason": error.message})
        return
    record_result(key, key.current, result)


def ask_again(by: Member, task: HumanTask) -> None:
    """Ask the vendor at once about the key of an incident, which closes when it accepts the key.

    Raises NotFound, and Conflict while the key is refused still, or the task is about none.
    """
    key = key_of(task)
    if task.about != _about(key):
        raise Conflict("This task closes by itself when what it tells of is over.")
    answer = keys.check_key(by, key)
    if answer.answer == VALID:
        kind, said = HumanTask.Kind.INCIDENT, "The vendor accepts the key."
        close_alert(member_actor(by), kind, task.about, said, by=by)
        return
    raise Conflict(
        f"{answer.text} The incident stays open: rotate the key, or retire it if nobody needs it. It "
        "closes by itself as soon as the vendor accepts the key."
    )


def record_result(key: ApiKey, version: KeyVersion, result: CheckResult) -> None:
    """Note an answer about the key's current secret; nothing when that was replaced meanwhile."""
    with transaction.atomic():
        watch = KeyCheckSchedule.objects.select_for_update().filter(key=key).first()
        # guard: a replaced key is left alone
        if watch is None or not ApiKey.objects.filter(pk=key.pk, current=version).exists():
            return
        changed = version.check_answer != result.answer
        versions.save_verdict(version, result)
        if result.answer == VALID:
            _valid(key, watch, result)
        elif result.answer == REFUSED:
            _refused(key, version, watch, result)
        else:
            _unclear(key, watch, result)
        watch.save()
        if changed:
            record(Action.KEY_CHECKED, _ACTOR, key, version=version.number, answer=result.answer)


def _valid(key: ApiKey, watch: KeyCheckSchedule, result: CheckResult) -> None:
    watch.refusals = watch.unclear = 0
    watch.unclear_since = None
    # Jitter spreads load and hides nothing, so it need not be unguessable.
    watch.next_check_at = timezone.now() + interval_of(key.account) * random.uniform(0.9, 1.1)  # noqa: S311
    close_alert(_ACTOR, HumanTask.Kind.INCIDENT, _about(key), "The vendor accepts the key.")
    close_alert(_ACTOR, HumanTask.Kind.OUTAGE, _about_silence(key), "The vendor accepts the key.")
    others = KeyCheckSchedule.objects.filter(key__account=key.account, unclear__gte=UNCLEAR)
    if not others.exclude(pk=watch.pk).exists():
        # While one key has no verdict, the answers about its neighbours are no recovery.
        close_alert(_ACTOR, HumanTask.Kind.OUTAGE, _about_vendor(key.account), "It answers again.")
    if result.usage:
        _note_usage(key.account, result.usage)


def _refused(
    key: ApiKey, version: KeyVersion, watch: KeyCheckSchedule, result: CheckResult
) -> None:
    watch.refusals, watch.unclear, watch.unclear_since = watch.refusals + 1, 0, None
    # One odd node of the vendor's is no incident: it is asked once more.
    watch.next_check_at = timezone.now() + _AGAIN
    # guard: one refusal is no incident
    if watch.refusals < REFUSALS:
        return
    watch.next_check_at = timezone.now() + max(_AFTER_INCIDENT, allowed_interval(key.account))
    early = _early(version)
    if "EXPIRED" in result.code and (
        version.expires_at is None or version.expires_at > timezone.now()
    ):
        versions.note_end(version, timezone.now())
    text = (
        f"The vendor refuses the current secret of {key} (…{version.tail}) outside a rotation: "
        f"{result.text} {early}Whoever uses it is refused now. Rotate the key, use a standby, "
        "or retire it if nobody needs it."
    )
    open_alert(_ACTOR, HumanTask.Kind.INCIDENT, _about(key), text, account=key.account, key=key)


def _early(version: KeyVersion) -> str:
    """Return how long before the end on record it ended; empty where that is past or not known."""
    ends = version.expires_at
    if ends is None or ends <= timezone.now():
        return ""
    days = (ends - timezone.now()).days
    return f"It ended {days} days before the end on record, {ends:%Y-%m-%d}. "


def _unclear(key: ApiKey, watch: KeyCheckSchedule, result: CheckResult) -> None:
    watch.unclear += 1
    watch.unclear_since = watch.unclear_since or timezone.now()
    # Soon at first, then no oftener than the month's calls allow, nor before the vendor said.
    wait = _AGAIN * 2 ** min(watch.unclear, 8)
    if watch.unclear >= UNCLEAR:
        wait = max(wait, allowed_interval(key.account))
    asked_for = timedelta(seconds=result.retry_after or 0)
    watch.next_check_at = timezone.now() + max(wait, asked_for)
    if watch.unclear >= UNCLEAR and _neighbour_is_fine(key, watch):
        text = (
            f"The vendor gave no verdict on {key} {watch.unclear} times in a row, and accepts other keys "
            f"of {key.account} meanwhile: {result.text} The key may have ended, which some vendors answer "
            "as “not found”. Look there whether it still exists."
        )
        fine = "It accepts other keys."
        close_alert(_ACTOR, HumanTask.Kind.OUTAGE, _about_vendor(key.account), fine)
        about = _about_silence(key)
        open_alert(_ACTOR, HumanTask.Kind.OUTAGE, about, text, account=key.account, key=key)
    elif watch.unclear >= UNCLEAR:
        text = (
            f"{key.account} gave no verdict on keys several times in a row: {result.text} "
            "Applications keep their keys; nothing is deleted because of this."
        )
        open_alert(
            _ACTOR,
            HumanTask.Kind.OUTAGE,
            _about_vendor(key.account),
            text,
            account=key.account,
        )


def _note_usage(account: VendorAccount, said: dict[str, Any]) -> None:
    usage, _new = AccountUsage.objects.update_or_create(
        account=account,
        defaults={
            "plan": str(said.get("plan") or "")[:60],
            "used": said.get("used"),
            "total": said.get("total"),
            "at": timezone.now(),
        },
    )
    about = f"allowance:{account.pk}"
    if usage.percent is None or usage.percent < WARN_PERCENT:
        close_alert(_ACTOR, HumanTask.Kind.FINDING, about, "There is enough left.")
        return
    text = (
        f"{account} has used {usage.used} of {usage.total} credits ({usage.percent} %). When they "
        "are used up, applications are refused, and new keys cannot be checked."
    )
    open_alert(_ACTOR, HumanTask.Kind.FINDING, about, text, account=account)


def _about(key: ApiKey) -> str:
    return f"refused:{key.pk}"


def _about_silence(key: ApiKey) -> str:
    return f"no verdict:{key.pk}"


def _neighbour_is_fine(key: ApiKey, watch: KeyCheckSchedule) -> bool:
    """Return whether the vendor accepted another key of the account since this one has no verdict."""
    others = KeyVersion.objects.filter(
        key__account=key.account, check_answer=VALID, checked_at__gte=watch.unclear_since
    )
    return others.exclude(key=key.pk).exists()


def _about_vendor(account: VendorAccount) -> str:
    return f"watch:{account.pk}"
