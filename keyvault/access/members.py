"""People: who may see whom, their sessions, and what is reset when they lose a factor."""

from allauth.mfa.models import Authenticator
from django.db import models

from keyvault.access import sessions
from keyvault.access.permissions import Permission, grants_with, may, require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import NotFound
from keyvault.models import Group, Member


def reset_sign_in(by: Member, member: Member) -> None:
    """In the caller's transaction: end the sessions, and remove password and second factors."""
    sessions.end(member_actor(by), member)
    member.set_unusable_password()
    member.save(update_fields=["password"])
    removed, _each = Authenticator.objects.filter(user=member).delete()
    if removed:
        record(Action.MEMBER_FACTOR_CHANGED, member_actor(by), member, removed=removed)


def visible_members(by: Member) -> models.QuerySet[Member]:
    """Return the people that `by` may know of: all for owners and auditors, else themselves."""
    if grants_with(by, Permission.MANAGE).exists() or may(by, Permission.READ_AUDIT):
        return Member.objects.all()
    return Member.objects.filter(pk=by.pk)


def get_member(by: Member, member_id: int) -> Member:
    """Return a person that `by` may know of; NotFound alike for unknown and foreign ones."""
    found = visible_members(by).filter(pk=member_id).first()
    if found is None:
        raise NotFound("There is no such person, or they are not yours to see.")
    return found


def end_sessions(by: Member, member: Member) -> int:
    """End all sessions of a person; returns how many. Raises Denied."""
    if by.pk != member.pk:
        require_owner(by, "end somebody's sessions")
    return sessions.end(member_actor(by), member)


def groups_of(member: Member) -> models.QuerySet[Group]:
    """Return the groups that a person is in."""
    return Group.objects.filter(members=member)
