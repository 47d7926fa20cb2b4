"""Groups of people that hold roles together."""

from django.db import IntegrityError, models, transaction

from keyvault.access.permissions import Permission, may, require_owner
from keyvault.access.roles import lock_owners, refuse_own, require_an_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict, Denied, NotFound
from keyvault.core.validators import require_clean
from keyvault.models import Group, Member


def add_group(by: Member, name: str) -> Group:
    """Record a group; raises Denied, BadInput for an odd name, Conflict for a used one."""
    require_owner(by, "add groups")
    group = Group(name=name.strip())
    require_clean(group)
    try:
        with transaction.atomic():
            group.save()
            record(Action.GROUP_CHANGED, member_actor(by), group, added=True)
    except IntegrityError:
        raise Conflict(f"There is a group “{name}” already. Nothing was stored.") from None
    return group


def visible_groups(by: Member) -> models.QuerySet[Group]:
    """Return the groups: all for who may manage or audit them, none for the rest."""
    if may(by, Permission.MANAGE) or may(by, Permission.READ_AUDIT):
        return Group.objects.all()
    return Group.objects.none()


def get_group(by: Member, group_id: int) -> Group:
    """Return a group, for who may manage or audit them; NotFound alike for the rest."""
    found = visible_groups(by).filter(pk=group_id).first()
    if found is None:
        raise NotFound("There is no such group, or it is not yours to see.")
    return found


def add_to_group(by: Member, group: Group, member: Member) -> None:
    """Put a member into a group: its roles are theirs with the next request."""
    require_owner(by, "change groups")
    refuse_own(by, member)
    if not member.is_active:
        raise Conflict(f"{member} is not active any more. Nothing was changed.")
    if group.members.filter(pk=member.pk).exists():
        raise Conflict(f"{member} is in this group already.")
    with transaction.atomic():
        group.members.add(member)
        record(Action.GROUP_CHANGED, member_actor(by), group, joined=str(member))


def remove_from_group(by: Member, group: Group, member: Member) -> None:
    """Take a member out of a group; Conflict when that would leave no owner."""
    require_owner(by, "change groups")
    refuse_own(by, member)
    with transaction.atomic():
        lock_owners()
        if not group.members.filter(pk=member.pk).exists():
            raise Conflict(f"{member} is not in this group.")
        group.members.remove(member)
        require_an_owner()
        record(Action.GROUP_CHANGED, member_actor(by), group, left=str(member))


def delete_group(by: Member, group: Group) -> None:
    """Remove a group with its roles; Conflict when that would leave no owner."""
    require_owner(by, "remove groups")
    if group.members.filter(pk=by.pk).exists():
        raise Denied("You are in this group: let another owner remove it. Nothing was changed.")
    with transaction.atomic():
        lock_owners()
        record(Action.GROUP_CHANGED, member_actor(by), group, added=False)
        group.delete()
        require_an_owner()
