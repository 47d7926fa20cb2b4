"""The door for people who leave: what they could reach, and one act that takes it all back.

However somebody was deactivated, the next tick does the same for them.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from keyvault.access import approvals, exposure, roles
from keyvault.access.exposure import Exposure
from keyvault.access.permissions import require_owner
from keyvault.audit.actors import Actor, member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied, KeyServiceError
from keyvault.delivery import token_secrets
from keyvault.inventory import hold_status
from keyvault.models import (
    ApiKey,
    Grant,
    Group,
    Invitation,
    KeyVersion,
    Member,
    MemberSession,
    ServiceToken,
    VersionState,
)
from keyvault.models.disclosures import TokenDisclosure
from rotation import human_tasks
from rotation.campaigns import service
from rotation.models import OPEN_STEPS, HumanTask, Reason, Rotation
from rotation.models.campaigns import Campaign

log = logging.getLogger(__name__)

_LONGEST_HOURS = 168


@dataclass(frozen=True)
class Plan:
    """All that off-boarding a person would take back."""

    member: Member
    exposures: list[Exposure]
    owned: list[ApiKey]
    tokens: list[ServiceToken]
    grants: list[Grant]
    groups: list[Group]
    sessions: int


@dataclass(frozen=True)
class Done:
    """What was done, with the campaign that rotates the exposed keys, if there are any."""

    plan: Plan
    campaign: Campaign | None
    heir: Member | None


def plan(by: Member, member: Member) -> Plan:
    """Return what off-boarding would do; raises Denied unless `by` owns the installation."""
    require_owner(by, "off-board people")
    return _plan(member)


def off_board(by: Member, member: Member, *, heir: Member, token_hours: int = 0) -> Done:
    """Take everything back from a person, and rotate what they know as one campaign.

    `heir` gets their own keys; their service tokens end at once, or after `token_hours` where
    running programs need time for new ones. Raises Denied, BadInput, Conflict when they have left
    already or are the last owner; then nothing is changed.
    """
    require_owner(by, "off-board people")
    if by.pk == member.pk:
        raise Denied("Nobody off-boards themselves. Ask another owner.")
    if heir.pk == member.pk or not heir.is_active:
        raise BadInput("Whoever takes over their keys must be somebody else who is active.")
    if not 0 <= token_hours <= _LONGEST_HOURS:
        raise BadInput(f"Service tokens may go on for 0 to {_LONGEST_HOURS} hours (a week).")
    with transaction.atomic():
        # Two owners who off-board each other at once must not both succeed.
        roles.lock_owners()
        require_owner(by, "off-board people")
        done = _carry_out(member_actor(by), by, member, heir, token_hours)
        # guard: last owner is not off-boarded
        roles.require_an_owner()
        return done


def finish_leavers() -> int:
    """Off-board whoever was deactivated by another door; returns how many there were.

    Whether an owner is left was for that door to ask: here the person has gone already. One who
    cannot be off-boarded now is tried again by the next tick, and stands in nobody's way.
    """
    finished = 0
    for member in Member.objects.filter(is_active=False, left_at=None).order_by("pk")[:10]:
        try:
            finish_leaver(member)
            finished += 1
        except KeyServiceError as error:
            log.warning("a leaver waits", extra={"member": member.pk, "reason": error.message})
    return finished


def finish_leaver(member: Member) -> None:
    """Take back what somebody could reach whom another door deactivated; Conflict if that was done."""
    actor = system_actor(f"{member} was deactivated", str(member))
    with transaction.atomic():
        _carry_out(actor, None, member, roles.owners().order_by("pk").first(), 0)


def _carry_out(
    actor: Actor, by: Member | None, member: Member, heir: Member | None, token_hours: int
) -> Done:
    """In the caller's transaction: whoever crashes in it leaves everything to be done again.

    The person's row is changed first: what they were just doing waits for it, and is refused.
    """
    if not Member.objects.filter(pk=member.pk, left_at=None).update(
        is_active=False, left_at=timezone.now()
    ):
        raise Conflict(f"{member} has left already. Nothing was changed.")
    found = _plan(member)
    _close_doors(actor, member, found.tokens, token_hours)
    handed = _hand_over(actor, member, found.owned, heir, by or heir)
    _warn_of_standbys(actor, member)
    campaign = None
    if found.exposures:
        exposed = [(one.key.pk, one.version.pk) for one in found.exposures]
        campaign = service.begin(actor, by, f"{member} left", Reason.LEAVER, exposed)
    record(
        Action.MEMBER_OFFBOARDED,
        actor,
        member,
        sessions=found.sessions,
        tokens=[token.public_id for token in found.tokens],
        grants=[str(grant) for grant in found.grants],
        groups=[str(group) for group in found.groups],
        keys=len(found.exposures),
        rotations_handed_over=handed,
        heir=str(heir or ""),
    )
    return Done(found, campaign, heir)


def _close_doors(
    actor: Actor, member: Member, tokens: list[ServiceToken], token_hours: int
) -> None:
    now = timezone.now()
    MemberSession.objects.filter(member=member).delete()
    Invitation.objects.filter(member=member, used_at=None).update(used_at=now)
    # guard: a leaver's pending approvals
    approvals.lapse(actor, member)
    Grant.objects.filter(member=member).delete()
    Group.members.through.objects.filter(member=member).delete()
    ends = now + timedelta(hours=token_hours)
    # Of a token that somebody else has renewed, they know the former text alone.
    token_secrets.end(TokenDisclosure.objects.filter(member=member), ends)
    known = ServiceToken.objects.filter(pk__in=[token.pk for token in tokens])
    if token_hours:
        known.update(expires_at=Least(Coalesce("expires_at", ends), ends))
    else:
        known.update(revoked_at=now)
    for token in tokens:
        record(Action.TOKEN_REVOKED, actor, token, ends_at=ends.isoformat(timespec="seconds"))


def _hand_over(
    actor: Actor, member: Member, owned: list[ApiKey], heir: Member | None, asker: Member | None
) -> int:
    """Give the heir their keys, and the asker their open rotations, which would be given up else."""
    for key in owned if heir else []:
        ApiKey.objects.filter(pk=key.pk).update(member=heir)
        record(Action.KEY_CHANGED, actor, key, new_owner=str(heir))
    theirs = Rotation.objects.filter(requested_by=member, step__in=OPEN_STEPS)
    # guard: open rotations of a leaver
    return theirs.update(requested_by=asker)


def _warn_of_standbys(actor: Actor, member: Member) -> None:
    """A standby that the leaver brought in is never used; somebody must delete it at the vendor."""
    found = KeyVersion.objects.filter(added_by=member, state=VersionState.STANDBY)
    standbys = list(found.select_related("key__account"))
    held = hold_status.held_among(version.key_id for version in standbys)
    for version in standbys:
        what = (
            "Its key is on hold: leave it as it is, and add another one."
            if version.key_id in held
            else f"Delete it at {version.key.account}, and add another one."
        )
        text = (
            f"{member}, who left, brought in this standby (…{version.tail}). It will not be used. "
            f"{what}"
        )
        about = f"standby of a leaver {version.pk}"
        human_tasks.open_alert(
            actor, HumanTask.Kind.FINDING, about, text, key=version.key, version=version
        )


def _plan(member: Member) -> Plan:
    return Plan(
        member=member,
        exposures=exposure.to_person(member),
        owned=list(ApiKey.objects.filter(member=member).select_related("account", "environment")),
        tokens=list(_tokens(member)),
        grants=list(
            Grant.objects.filter(member=member).select_related("application", "environment")
        ),
        groups=list(Group.objects.filter(members=member)),
        sessions=MemberSession.objects.filter(member=member).count(),
    )


def _tokens(member: Member) -> QuerySet[ServiceToken]:
    """Return the live tokens whose present text the person was shown."""
    shown = TokenDisclosure.objects.filter(member=member, ends_at=None)
    live = ServiceToken.objects.filter(pk__in=shown.values("token"), revoked_at=None)
    return live.order_by(F("name"), "pk").select_related("application", "environment")
