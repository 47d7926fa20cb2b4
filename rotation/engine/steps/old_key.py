"""The old key while it overlaps with the new one: its last use, and whether it still lives.

Programs that have not moved need it. So it is asked about all the while, at vendors that tell no last
use too, and its death before we ended it is a fact of its own: people and consumers are told at once,
and it is never taken for a key that fell quiet.
"""

from dataclasses import dataclass
from datetime import datetime

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.errors import KeyServiceError
from keyvault.core.failpoints import reached
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret, provider_of, timing_of, vendor_account
from keyvault.vendors.base import REFUSED, VALID, KeyDead, VendorError
from rotation.consumers import adoption, holders, last_use, webhooks
from rotation.engine import check_budget
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.steps import replace_in_place
from rotation.human_tasks import close_tasks, open_task
from rotation.models import HumanTask, Reason, Rotation, WaitingFor

# Soon after the switch, when a vendor may end the old key against its promise, then every few minutes.
FIRST_SECONDS, FEW_MINUTES = 5.0, 180.0
# So many checks any rotation may make; after that they keep to what the month's calls leave.
_FREE_CHECKS = 40
# Our own checks may hide others' uses for a quarter of the time at most.
_SIGHT = 4


@dataclass(frozen=True)
class Said:
    """What the vendor says of the old key; `error` when that is not clear.

    `unknown`: it says that the key is gone.
    """

    tells: bool
    last_used: datetime | None = None
    unknown: bool = False
    error: VendorError | None = None


def overlaps(rotation: Rotation) -> bool:
    """Return whether the old key may be needed still, and nothing of ours has ended it."""
    if rotation.old_version is None or rotation.reason == Reason.LEAK:
        return False
    replaced = provider_of(rotation.key.account).replaces_in_place and replace_in_place.called(
        rotation
    )
    return not replaced


def ask_vendor(claim: Claim) -> Said:
    """Ask for the last use, where it is told, and note since when nobody else's use is seen.

    The secret itself is asked about afterwards: what it changes must not hide what came before.
    """
    rotation, old = claim.rotation, claim.rotation.old_version
    provider = provider_of(rotation.key.account)
    if not (provider.tells_last_use and old and old.vendor_id):
        return Said(False)
    account = vendor_account(rotation.key.account, manage=True)
    try:
        last_used = provider.last_used(account, old.vendor_id)
    except KeyDead as dead:
        check(claim, dead.text)
        return Said(False, unknown=True)
    except VendorError as error:
        return Said(True, error=error)
    word = last_use.weigh(rotation, last_used, timing_of(rotation.key.account))
    # guard: time without a word is not quiet
    if not word.counts:
        claim.note(quiet_from=db_clock.now())
    elif word.others:
        claim.note(quiet_from=word.since)
    return Said(True, last_used)


def check(claim: Claim, dead: str = "") -> bool:
    """Ask about the old secret when that is due; returns whether its death or life became known.

    `dead` is the vendor's own word that the key is gone, which a refusal of the secret confirms.
    """
    rotation, old = claim.rotation, claim.rotation.old_version
    assert old is not None
    if due_in(rotation) > 0 and (not dead or rotation.old_gone_at):
        return False
    before = _dead_before_the_switch(rotation)
    sent = db_clock.now()
    claim.note(old_asked_at=sent, old_asked=rotation.old_asked + 1, **_hidden(rotation, sent))
    try:
        secret = versions.read_secret(old)
    except KeyServiceError:
        return (
            False  # nobody can ask without the secret; what is wrong with Vault is told elsewhere
        )
    verdict = check_secret(rotation.key.account, secret)
    claim.note_check(old, verdict)
    if verdict.answer == VALID:
        claim.note(old_refusals=0)
        # guard: a secret that works is not dead
        return _lives_again(claim) if rotation.old_gone_at else False
    if verdict.answer == REFUSED:
        claim.note(old_refusals=rotation.old_refusals + (2 if before else 1))
    # guard: one refusal is no death
    steady = rotation.old_refusals >= timing_of(rotation.key.account).steady_answers
    # guard: an early death is told
    if rotation.old_gone_at or not (steady or dead):
        return False
    how = f"{dead} {verdict.text}".strip() if verdict.answer == REFUSED else dead
    _died(claim, how, before or db_clock.now())
    return True


def _dead_before_the_switch(rotation: Rotation) -> datetime | None:
    """Return when the old secret was refused already, if nobody has asked about it since the switch."""
    old, switch = rotation.old_version, rotation.published_at
    if old is None or old.checked_at is None or switch is None or old.checked_at > switch:
        return None
    return old.checked_at if old.check_answer == REFUSED else None


def due_in(rotation: Rotation) -> float:
    """Return the seconds until the old secret is to be asked about again; 0 when it is time."""
    old = rotation.old_version
    last = rotation.old_asked_at or (old.checked_at if old else None)
    if last is None:
        return 0.0
    waited = (db_clock.now() - (rotation.published_at or rotation.step_since)).total_seconds()
    return max(0.0, _pause(rotation, waited) - (db_clock.now() - last).total_seconds())


def _pause(rotation: Rotation, waited: float) -> float:
    """Return how long to wait between two checks: little at first, then some minutes."""
    timing = timing_of(rotation.key.account)
    if rotation.old_refusals and not rotation.old_gone_at:
        return timing.steady_spacing_seconds
    few = min(FEW_MINUTES, max(FIRST_SECONDS, min(waited, 2.0 * rotation.quiet_seconds) / 4))
    if (
        rotation.waiting_for != WaitingFor.ADOPTION
        and provider_of(rotation.key.account).tells_last_use
    ):
        # guard: checks leave time in which others are seen
        few = max(few, _SIGHT * last_use.blind(timing).total_seconds())
    # guard: checks of old keys keep to the month's calls
    if rotation.old_asked < _FREE_CHECKS:
        return few
    return max(few, check_budget.spare_pause(rotation.key.account).total_seconds())


def _hidden(rotation: Rotation, sent: datetime) -> dict[str, datetime]:
    """Let the quiet period begin anew after checks that came so close that they hide others' uses."""
    before = last_use.own_check(rotation)
    blind = last_use.blind(timing_of(rotation.key.account))
    if before is None or sent - before[1] >= _SIGHT * blind:
        return {}
    return {"quiet_from": sent + blind}


def _died(claim: Claim, how: str, at: datetime) -> None:
    """Note that the old key is gone although nothing of ours ended it, and tell whom it concerns.

    Nobody is woken where all have moved, or nobody is known and it was dead before the switch.
    """
    rotation, old, new = claim.rotation, claim.rotation.old_version, claim.rotation.new_version
    assert old is not None
    if new is None:
        # A key that is being retired: that nothing can use it is what is waited for.
        return claim.note(old_gone_at=at, old_gone_how=how[:300])
    lagging = holders.waited_for(rotation)
    names = holders.names(lagging)
    actor = worker_actor(rotation)
    reached("old_gone.before")
    with claim.transaction():
        claim.write(old_gone_at=at, old_gone_how=how[:300])
        webhooks.enqueue(
            rotation.key, new, only=[one.consumer.pk for one in lagging if one.consumer]
        )
        record(Action.VERSION_GONE_EARLY, actor, old, reason=how, not_moved=names)
        if lagging or adoption.needs_a_word(rotation):
            open_task(actor, rotation, HumanTask.Kind.INCIDENT, _urgent(rotation, names), old)
    reached("old_gone.after")


def _urgent(rotation: Rotation, names: str) -> str:
    old = rotation.old_version
    tail = f" ending in {old.tail}" if old and old.tail else ""
    who = (
        f"Not yet on the new key, and refused now: {names}. Those with a webhook were told again; see to "
        "it that each takes the new key."
        if names
        else "No consumer is known to need it still; whoever does is refused now."
    )
    return (
        f"The old key of {rotation.key}{tail} was gone before we ended it: {rotation.old_gone_how} "
        f"{who} The new key works. If the old one was ended by mistake, the vendor may give it back."
    )


def _lives_again(claim: Claim) -> bool:
    """Take the news of its death back: somebody has enabled it again, or the vendor was wrong."""
    rotation, old = claim.rotation, claim.rotation.old_version
    assert old is not None
    actor, text = worker_actor(rotation), "The vendor accepts the old key again."
    with claim.transaction():
        claim.write(old_gone_at=None, old_gone_how="", quiet_from=db_clock.now())
        close_tasks(actor, rotation, text, kinds=(HumanTask.Kind.INCIDENT,))
        record(Action.VERSION_ACCEPTED_AGAIN, actor, old)
    return True
