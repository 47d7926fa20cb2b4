"""Who is notified: the owner of a key, its team, and whoever can act on a task."""

from keyvault.access import roles
from keyvault.access.permissions import Permission, holders, may
from keyvault.models import ApiKey, Member
from rotation.models import HumanTask

URGENT = (HumanTask.Kind.INCIDENT, HumanTask.Kind.REVIEW, HumanTask.Kind.OUTAGE)


def owner_of(key: ApiKey) -> list[Member]:
    """Return the person a key belongs to, or who recorded it and may still see it."""
    owner = key.member or key.created_by
    return [owner] if owner and may(owner, Permission.VIEW, key) else []


def team_of(key: ApiKey) -> list[Member]:
    """Return whoever can rotate the key, and its own person."""
    return [*holders(Permission.ROTATE, key), *owner_of(key)]


def people_for_task(task: HumanTask) -> list[Member]:
    """Return who can do something about it; acts that one person did alone are told to all of them."""
    everybody = list(roles.owners())
    if task.key is None:
        return everybody
    if task.kind in URGENT:
        return [*team_of(task.key), *holders(Permission.MANAGE, task.key), *everybody]
    return team_of(task.key)


def contact_of(key: ApiKey | None) -> str:
    """Return the contact address of the key's application; empty where there is none."""
    return key.application.contact if key and key.application else ""
