"""The door to second persons: which acts need one, who was asked, and what exactly was agreed to.

Whoever wants to do such an act does it as always; the first try asks, and once another person has
agreed, the same act by the same person goes through, once. An agreement is held to a digest of the
parameters, so that what was read is what is done.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from keyvault.access.permissions import Permission, may, require_owner, visible_keys
from keyvault.access.roles import owners
from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied, KeyServiceError, NotFound
from keyvault.core.redaction import one_line
from keyvault.models import ApiKey, Approval, ApprovalRule, Environment, Member
from keyvault.models.approvals import ApprovalAction

# A request waits for a day, and what was agreed to must be done within an hour.
ASKED_FOR, GOOD_FOR = timedelta(hours=24), timedelta(hours=1)
# What one must be able to do oneself to agree that another does it to this key.
_VERBS = {
    ApprovalAction.REVEAL: Permission.REVEAL,
    ApprovalAction.ROTATION: Permission.ROTATE,
    ApprovalAction.WAIVER: Permission.WAIVE,
    ApprovalAction.HOLD: Permission.MANAGE,
    ApprovalAction.RETIRE: Permission.MANAGE,
}


@dataclass(frozen=True)
class Asked:
    """An act as its asker wants it done: what people read, and the parameters that it is held to."""

    act: ApprovalAction
    what: str
    parameters: dict[str, Any]
    key: ApiKey | None = None
    environment: Environment | None = None
    reason: str = ""
    always: bool = False

    @property
    def is_needed(self) -> bool:
        """Return whether a second person must agree to it."""
        return self.always or is_needed(
            self.act, self.key.environment if self.key else self.environment
        )

    @property
    def text(self) -> str:
        """Return the one text that stands for the act with its parameters."""
        whole = {"act": str(self.act), **self.parameters}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), default=str)

    @property
    def digest(self) -> str:
        """Return the digest of that text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class NeedsApproval(KeyServiceError):
    """A second person was asked; nothing was done yet."""

    code, status = "approval_needed", 409

    def __init__(self, waiting: Sequence[Approval]) -> None:
        numbers = [one.pk for one in waiting]
        named = " and ".join(map(str, numbers))
        super().__init__(
            (
                f"This needs a second person. It was asked for and is request {named}: once "
                "somebody else has agreed, do the same again. Nothing was done yet."
            ),
            details={
                "approvals": numbers,
                "expires_at": min(one.expires_at for one in waiting).isoformat(),
            },
        )


def require(by: Member, *acts: Asked) -> None:
    """Return when nobody must be asked, or when others agreed to exactly these; uses that up.

    All of what one deed needs is given here at once, so that no agreement is used up while another
    is still missing. Raises NeedsApproval after asking. Must not run inside a transaction, which
    might take the request back.
    """
    needed = [one for one in acts if one.is_needed]
    if not needed:
        return
    if connection.in_atomic_block:
        raise RuntimeError("approvals.require must not be called inside a transaction")
    missing = [one for one in needed if not _agreed(by, one).exists()]
    # guard: no agreement used before all are there
    if not missing and _use_up(by, needed):
        return
    raise NeedsApproval([_ask(by, one) for one in missing or needed])


def is_needed(act: ApprovalAction, environment: Environment | None) -> bool:
    """Return whether a rule puts this act there under a second pair of eyes.

    One rule is built in: secrets of production are not revealed by one person alone.
    """
    if act == ApprovalAction.REVEAL and environment is not None and environment.is_production:
        return True
    places = Q(environment__isnull=True) | Q(environment=environment)
    return ApprovalRule.objects.filter(places, act=act).exists()


def _agreed(by: Member, asked: Asked) -> models.QuerySet[Approval]:
    # guard: agreement of somebody who left
    # guard: agreement to exactly this
    # guard: agreement used once
    return Approval.objects.filter(
        asked_by=by,
        digest=asked.digest,
        decided_by__is_active=True,
        granted=True,
        used_at__isnull=True,
        expires_at__gt=timezone.now(),
    )


def _use_up(by: Member, needed: Sequence[Asked]) -> bool:
    """Use the agreements up, all or none; False when somebody was quicker."""
    with transaction.atomic():
        chosen = [
            _agreed(by, one).select_for_update(skip_locked=True, of=("self",)).first()
            for one in needed
        ]
        found = [one for one in chosen if one is not None]
        if len(found) < len(needed):
            return False
        for one in found:
            Approval.objects.filter(pk=one.pk).update(used_at=timezone.now())
            record(Action.APPROVAL_USED, member_actor(by), one, by=str(one.decided_by))
    return True


def _ask(by: Member, asked: Asked) -> Approval:
    """Open a request, or return the one that is open; one that ran out makes room."""
    now = timezone.now()
    mine = Approval.objects.filter(asked_by=by, digest=asked.digest, granted=None, used_at=None)
    mine.filter(expires_at__lte=now).update(granted=False)
    try:
        with transaction.atomic():
            opened = Approval.objects.create(
                act=asked.act,
                what=one_line(asked.what, 500),
                parameters=asked.text,
                digest=asked.digest,
                key=asked.key,
                asked_by=by,
                reason=one_line(asked.reason, 500),
                expires_at=now + ASKED_FOR,
            )
            record(Action.APPROVAL_ASKED, member_actor(by), opened, reason=asked.reason)
    except IntegrityError:
        open_now = mine.first()
        if open_now is None:
            raise Conflict("Your request was settled at this moment. Do the same again.") from None
        return open_now
    return opened


def decide(by: Member, approval: Approval, *, granted: bool) -> None:
    """Agree to a request or refuse it; never one's own.

    Raises Conflict when it is settled, too old, or its asker has left.
    """
    if not approval.asked_by.is_active:
        raise _asker_left(approval)
    if not may_decide(by, approval):
        raise Denied("Nobody agrees to their own request, or to what they could not do themselves.")
    now = timezone.now()
    with transaction.atomic():
        # guard: asker and approver are here
        if not _both_are_here(by, approval):
            raise _asker_left(approval)
        changed = Approval.objects.filter(
            pk=approval.pk, granted__isnull=True, expires_at__gt=now
        ).update(granted=granted, decided_by=by, decided_at=now, expires_at=now + GOOD_FOR)
        if not changed:
            raise Conflict("This request is settled already, or its time has run out.")
        action = Action.APPROVAL_GRANTED if granted else Action.APPROVAL_REFUSED
        record(action, member_actor(by), approval, asked_by=str(approval.asked_by))


def _both_are_here(by: Member, approval: Approval) -> bool:
    """Keep asker and approver members until the transaction ends; False when either has left."""
    both = Member.objects.select_for_update(no_key=True).order_by("pk")
    here = both.filter(pk__in=[by.pk, approval.asked_by_id], is_active=True)
    return len(here.values_list("pk", flat=True)) == 2


def _asker_left(approval: Approval) -> Conflict:
    return Conflict(
        (
            f"{approval.asked_by} is not a member any more, and what they asked for lapses. Nothing was "
            "agreed to."
        ),
        code="lapsed",
    )


def lapse(actor: Actor, member: Member) -> int:
    """In the caller's transaction: void what a leaver asked for, and what they agreed to, unused.

    Whoever comes back asks anew; whose approver left asks somebody else. Returns how many lapsed.
    """
    now = timezone.now()
    theirs = Approval.objects.filter(
        Q(asked_by=member) | Q(decided_by=member), used_at=None, expires_at__gt=now
    ).exclude(granted=False)
    lapsed = list(theirs.select_for_update(of=("self",)).order_by("pk"))
    for one in lapsed:
        who = "asked for it" if one.asked_by_id == member.pk else "agreed to it"
        why = f"{member}, who {who}, left."[:200]
        Approval.objects.filter(pk=one.pk).update(granted=False, lapsed_at=now, lapsed_why=why)
        record(Action.APPROVAL_LAPSED, actor, one, reason=why)
    return len(lapsed)


def may_decide(by: Member, approval: Approval) -> bool:
    """Return whether `by` is a second person who could do it themselves, or manages what it is about."""
    # guard: second person is another
    if approval.asked_by_id == by.pk:
        return False
    if not approval.asked_by.is_active:
        return False
    if approval.act == ApprovalAction.EXPORT:
        return may(by, Permission.READ_AUDIT)
    verb = _VERBS.get(ApprovalAction(approval.act))
    if verb is None or approval.key is None:
        return may(by, Permission.MANAGE)
    return may(by, verb, approval.key) or may(by, Permission.MANAGE, approval.key)


def visible_approvals(by: Member) -> models.QuerySet[Approval]:
    """Return the requests that `by` made or may know of, with what lists show of them."""
    seen = Q(asked_by=by) | Q(key__in=visible_keys(by, archived=True))
    if may(by, Permission.MANAGE):
        seen |= Q(key__isnull=True)
    elif may(by, Permission.READ_AUDIT):
        seen |= Q(act=ApprovalAction.EXPORT)
    return Approval.objects.filter(seen).select_related("asked_by", "decided_by", "key")


def get_approval(by: Member, approval_id: int) -> Approval:
    """Return a request that `by` may know of; NotFound alike for unknown and foreign ones."""
    found = visible_approvals(by).filter(pk=approval_id).first()
    if found is None:
        raise NotFound("There is no such request, or it is not yours to see.")
    return found


def add_rule(
    by: Member, act: ApprovalAction, environment: Environment | None = None
) -> ApprovalRule:
    """Put an act under a second pair of eyes; raises Denied, BadInput, Conflict when it is so already."""
    require_owner(by, "say what needs a second person")
    if act not in ApprovalAction.values or act == ApprovalAction.RULE:
        raise BadInput("There is no such act to ask a second person for.")
    try:
        with transaction.atomic():
            rule = ApprovalRule.objects.create(act=act, environment=environment, set_by=by)
            record(Action.APPROVAL_RULE_CHANGED, member_actor(by), rule, added=True)
    except IntegrityError:
        raise Conflict("A second person is asked for this already. Nothing was changed.") from None
    return rule


def remove_rule(by: Member, rule: ApprovalRule) -> None:
    """Take a rule back, which itself needs a second owner, where there is one."""
    require_owner(by, "say what needs a second person")
    alone = not owners().exclude(pk=by.pk).exists()
    if not alone:
        require(
            by,
            Asked(ApprovalAction.RULE, f"Remove the rule {rule}", {"rule": rule.pk}, always=True),
        )
    with transaction.atomic():
        record(Action.APPROVAL_RULE_CHANGED, member_actor(by), rule, added=False, alone=alone)
        rule.delete()


def get_rule(by: Member, rule_id: int) -> ApprovalRule:
    """Return a rule, for who may manage or audit them; NotFound for the rest."""
    found = ApprovalRule.objects.select_related("environment").filter(pk=rule_id).first()
    if found is None or not (may(by, Permission.MANAGE) or may(by, Permission.READ_AUDIT)):
        raise NotFound("There is no such rule, or it is not yours to see.")
    return found
