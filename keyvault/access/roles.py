"""Roles: who has which, over what and until when.

Nobody changes what they themselves may do, and the installation never loses its last owner.
"""

from datetime import datetime

from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from keyvault.access.permissions import Permission, grants_with, manages, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.models import Application, Environment, Grant, Group, Member, Role

Holder = Member | Group


def assign_role(
    by: Member,
    holder: Holder,
    role: Role,
    *,
    application: Application | None = None,
    environment: Environment | None = None,
    expires_at: datetime | None = None,
) -> Grant:
    """Give a member or a group a role over everything, an application, an environment, or both.

    Raises Denied when `by` does not own all of that, or would gain by it; BadInput for an unknown
    role or a time that has passed; Conflict when it was given already.
    """
    if role not in Role.values:
        raise BadInput(
            "There is no such role. Choose one of {values}.".format(values=", ".join(Role.values))
        )
    if expires_at is not None and expires_at <= timezone.now():
        raise BadInput("The role would end before it begins: its end lies in the past.")
    if isinstance(holder, Member) and not holder.is_active:
        raise Conflict(f"{holder} is not active any more. Nothing was changed.")
    grant = Grant(
        role=role, application=application, environment=environment, expires_at=expires_at
    )
    _attach(grant, holder)
    # guard: own roles
    _require_owner_of(by, grant)
    refuse_own(by, holder)
    try:
        with transaction.atomic():
            # One that has run out stands in the way of its successor.
            _same(grant).filter(expires_at__lte=timezone.now()).delete()
            grant.save()
            record(Action.GRANT_CHANGED, member_actor(by), holder, added=True, grant=str(grant))
    except IntegrityError:
        raise Conflict(f"{holder} is {grant} already. Nothing was changed.") from None
    return grant


def revoke_role(by: Member, grant: Grant) -> None:
    """Take a role back; it ends with the next request. Conflict for the last owner's."""
    holder: Holder | None = grant.member or grant.group
    assert holder is not None
    _require_owner_of(by, grant)
    refuse_own(by, holder)
    with transaction.atomic():
        lock_owners()
        if not Grant.objects.filter(pk=grant.pk).delete()[0]:
            raise Conflict("This role was taken back already.")
        # guard: last owner
        if _owns_everything(grant):
            require_an_owner()
        record(Action.GRANT_CHANGED, member_actor(by), holder, added=False, grant=str(grant))


def visible_grants(by: Member) -> models.QuerySet[Grant]:
    """Return the grants that `by` may change or read: those within what they own, and their own."""
    if may(by, Permission.MANAGE) or may(by, Permission.READ_AUDIT):
        return Grant.objects.all()
    reach = Q(member=by) | Q(group__members=by)
    for mine in grants_with(by, Permission.MANAGE):
        part = Q(pk__isnull=False)
        if mine.application_id is not None:
            part &= Q(application=mine.application_id)
        if mine.environment_id is not None:
            part &= Q(environment=mine.environment_id)
        reach |= part
    return Grant.objects.filter(reach).distinct()


def get_grant(by: Member, grant_id: int) -> Grant:
    """Return a grant that `by` may know of; NotFound alike for unknown and foreign ones."""
    found = visible_grants(by).select_related("member", "group", "application", "environment")
    grant = found.filter(pk=grant_id).first()
    if grant is None:
        raise NotFound("There is no such role, or it is not yours to see.")
    return grant


def owners() -> models.QuerySet[Member]:
    """Return the active members who own the whole installation and do not run out of it."""
    whole = Grant.objects.filter(
        role=Role.OWNER, application=None, environment=None, expires_at=None
    )
    direct, by_group = whole.values("member_id"), whole.values("group_id")
    return Member.objects.filter(
        Q(pk__in=direct) | Q(teams__in=by_group), is_active=True
    ).distinct()


def require_an_owner() -> None:
    """Raise Conflict when nobody owns the installation any more; call it inside the transaction."""
    if not owners().exists():
        raise Conflict(
            (
                "That would leave the installation without an owner whose role does not end. Nothing "
                "was changed. Make somebody else an owner first."
            ),
            code="last_owner",
        )


def lock_owners() -> None:
    """Two owners who take each other's role at once must not both succeed: one waits here."""
    list(Grant.objects.select_for_update().filter(role=Role.OWNER).order_by("pk").values("pk"))


def _owns_everything(grant: Grant) -> bool:
    everything = grant.application_id is None and grant.environment_id is None
    return everything and grant.role == Role.OWNER


def _attach(grant: Grant, holder: Holder) -> None:
    if isinstance(holder, Member):
        grant.member = holder
    else:
        grant.group = holder


def _same(grant: Grant) -> models.QuerySet[Grant]:
    return Grant.objects.filter(
        member=grant.member,
        group=grant.group,
        role=grant.role,
        application=grant.application,
        environment=grant.environment,
    )


def _require_owner_of(by: Member, grant: Grant) -> None:
    if not manages(by, grant.application_id, grant.environment_id):
        raise Denied("Only an owner of all that this role reaches may give or take it.")


def refuse_own(by: Member, holder: Holder) -> None:
    """Raise Denied when a person would change what they themselves may do."""
    own = holder == by or (isinstance(holder, Group) and holder.members.filter(pk=by.pk).exists())
    if own:
        raise Denied("Nobody changes what they themselves may do. Ask another owner.")
