"""The door for people who leave: what they could reach, and one act that takes it all back.

A key is exposed when its living secret was revealed by the person, brought in by them, is their own,
or could be fetched with a service token that they were shown. What was rotated since is not.
However somebody was deactivated, the next tick does the same for them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from keyvault.audit.log import Actor, member_actor, record, system_actor
from keyvault.audit.models import Action, AuditEvent
from keyvault.errors import BadInput, Conflict, Denied
from keyvault.grants import owners, require_an_owner
from keyvault.models import (
    LIVE_STATES,
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
from keyvault.permissions import Verb, live_grants, may
from rotation import campaigns, human_tasks
from rotation.campaign_models import Campaign
from rotation.models import HumanTask, Reason

_LONGEST_HOURS = 168


@dataclass
class Exposure:
    """One key whose living secret the person knows or could have known, and how."""

    key: ApiKey
    how: list[str] = field(default_factory=list)


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
    if not may(by, Verb.MANAGE):
        raise Denied("Only an owner of the installation may off-board people.")
    return _plan(member)


def off_board(by: Member, member: Member, *, heir: Member, token_hours: int = 0) -> Done:
    """Take everything back from a person, and rotate what they know as one campaign.

    `heir` gets their own keys; their service tokens end at once, or after `token_hours` where
    running programs need time for new ones. Raises Denied, BadInput, Conflict when they have left
    already or are the last owner; then nothing is changed.
    """
    if not may(by, Verb.MANAGE):
        raise Denied("Only an owner of the installation may off-board people.")
    if by.pk == member.pk:
        raise Denied("Nobody off-boards themselves. Ask another owner.")
    if heir.pk == member.pk or not heir.is_active:
        raise BadInput("Whoever takes over their keys must be somebody else who is active.")
    if not 0 <= token_hours <= _LONGEST_HOURS:
        raise BadInput(f"Service tokens may go on for 0 to {_LONGEST_HOURS} hours (a week).")
    return _carry_out(member_actor(by), by, member, heir, token_hours)


def finish_leavers() -> int:
    """Off-board whoever was deactivated by another door; returns how many there were."""
    gone = Member.objects.filter(is_active=False, left_at=None)[:10]
    for member in gone:
        actor = system_actor(f"{member} was deactivated", str(member))
        _carry_out(actor, None, member, owners().order_by("pk").first(), 0)
    return len(gone)


def _carry_out(
    actor: Actor, by: Member | None, member: Member, heir: Member | None, token_hours: int
) -> Done:
    """One transaction: whoever crashes in it leaves everything as it was, to be done again."""
    found = _plan(member)
    with transaction.atomic():
        now = timezone.now()
        if not Member.objects.filter(pk=member.pk, left_at=None).update(
            is_active=False, left_at=now
        ):
            raise Conflict(f"{member} has left already. Nothing was changed.")
        require_an_owner()
        _close_doors(member, token_hours)
        if heir is not None:
            _hand_over(actor, found.owned, heir)
        _warn_of_standbys(actor, member)
        keys = ApiKey.objects.filter(pk__in=[one.key.pk for one in found.exposures])
        campaign = None
        if found.exposures:
            campaign = campaigns.begin(actor, by, f"{member} left", Reason.LEAVER, keys)
        record(
            Action.MEMBER_OFFBOARDED,
            actor,
            member,
            sessions=found.sessions,
            tokens=[token.public_id for token in found.tokens],
            grants=[str(grant) for grant in found.grants],
            groups=[str(group) for group in found.groups],
            keys=len(found.exposures),
            heir=str(heir or ""),
        )
    return Done(found, campaign, heir)


def _close_doors(member: Member, token_hours: int) -> None:
    now = timezone.now()
    MemberSession.objects.filter(member=member).delete()
    Invitation.objects.filter(member=member, used_at=None).update(used_at=now)
    Grant.objects.filter(member=member).delete()
    Group.members.through.objects.filter(member=member).delete()
    tokens = _tokens(member)
    if token_hours:
        ends = now + timedelta(hours=token_hours)
        tokens.update(expires_at=Least(Coalesce("expires_at", ends), ends))
    else:
        tokens.update(revoked_at=now)


def _hand_over(actor: Actor, owned: list[ApiKey], heir: Member) -> None:
    for key in owned:
        ApiKey.objects.filter(pk=key.pk).update(member=heir)
        record(Action.KEY_CHANGED, actor, key, new_owner=str(heir))


def _warn_of_standbys(actor: Actor, member: Member) -> None:
    """A standby that the leaver brought in is never used; somebody must delete it at the vendor."""
    kept = KeyVersion.objects.filter(added_by=member, state=VersionState.STANDBY)
    for version in kept.select_related("key__account"):
        text = (
            f"{member}, who left, brought in this standby (…{version.tail}). It will not be used. "
            f"Delete it at {version.key.account}, and add another one."
        )
        about = f"standby of a leaver {version.pk}"
        human_tasks.open_alert(
            actor, HumanTask.Kind.FINDING, about, text, key=version.key, version=version
        )


def _plan(member: Member) -> Plan:
    return Plan(
        member=member,
        exposures=exposures(member),
        owned=list(ApiKey.objects.filter(member=member).select_related("account", "environment")),
        tokens=list(_tokens(member)),
        grants=list(
            Grant.objects.filter(member=member).select_related("application", "environment")
        ),
        groups=list(Group.objects.filter(members=member)),
        sessions=MemberSession.objects.filter(member=member).count(),
    )


def _tokens(member: Member) -> QuerySet[ServiceToken]:
    """Return the tokens whose present text the person was shown, made or renewed by them."""
    shown = AuditEvent.objects.filter(
        action__in=[Action.TOKEN_CREATED, Action.TOKEN_RENEWED],
        actor_kind="member",
        actor_id=str(member.pk),
        object_kind="servicetoken",
    ).values_list("object_id", flat=True)
    theirs = Q(created_by=member) | Q(pk__in=[int(one) for one in shown])
    return ServiceToken.objects.filter(theirs, revoked_at=None).select_related(
        "application", "environment"
    )


def exposures(member: Member) -> list[Exposure]:
    """Return the keys that the person knows or could have known, by name, each with every way."""
    found: dict[int, Exposure] = {}
    wanted: dict[int, list[str]] = {}
    for key_id, how in (*_revealed(member), *_brought(member), *_own(member), *_fetched(member)):
        ways = wanted.setdefault(key_id, [])
        if how not in ways:
            ways.append(how)
    keys = ApiKey.objects.filter(pk__in=wanted).select_related(
        "account", "environment", "application", "current"
    )
    for key in keys.order_by("name", "pk"):
        found[key.pk] = Exposure(key, wanted[key.pk])
    return list(found.values())


def _revealed(member: Member) -> Iterator[tuple[int, str]]:
    rows = AuditEvent.objects.filter(
        action=Action.SECRET_REVEALED,
        actor_kind="member",
        actor_id=str(member.pk),
        outcome="ok",
        key_id__isnull=False,
    ).values_list("key_id", "payload", "at")
    living = set(
        KeyVersion.objects.filter(
            state__in=LIVE_STATES, key_id__in=rows.values("key_id")
        ).values_list("key_id", "number")
    )
    for key_id, payload, at in rows:
        if key_id and (key_id, json.loads(payload)["detail"].get("version")) in living:
            yield key_id, f"revealed it on {at:%Y-%m-%d}"


def _brought(member: Member) -> Iterator[tuple[int, str]]:
    brought = KeyVersion.objects.filter(added_by=member, state__in=LIVE_STATES)
    for key_id, number in brought.values_list("key_id", "number"):
        yield key_id, f"brought in version {number}"


def _own(member: Member) -> Iterator[tuple[int, str]]:
    for key_id in ApiKey.objects.filter(member=member, current__isnull=False).values_list("pk"):
        yield key_id[0], "is their own"


def _fetched(member: Member) -> Iterator[tuple[int, str]]:
    for token in _tokens(member):
        keys = ApiKey.objects.filter(
            application=token.application_id, environment=token.environment_id
        )
        for key_id in keys.filter(current__isnull=False).values_list("pk", flat=True):
            yield key_id, f"could fetch it by the token “{token.name}”"


def groups_and_roles(member: Member) -> QuerySet[Grant]:
    """Return what the person may do now, own roles and those of groups."""
    return live_grants(member).select_related("application", "environment", "group")
