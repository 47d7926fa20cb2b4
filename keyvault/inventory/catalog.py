"""The door to what keys belong to: applications and environments.

Only an owner of the whole installation adds any of them. Names are unique regardless of case.
"""

from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction

from keyvault.access.permissions import ALLOWED, Permission, live_grants, may, require_owner
from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict, NotFound
from keyvault.core.validators import require_clean
from keyvault.inventory import secret_names
from keyvault.inventory.edit_conflicts import require_unchanged
from keyvault.models import Application, Environment, Member, VendorAccount

Row = TypeVar("Row", bound=models.Model)


def add_application(by: Member, name: str, *, team: str = "", contact: str = "") -> Application:
    """Record a program that uses keys; raises Denied, BadInput, or Conflict on a used name."""
    require_owner(by, "add applications")
    application = Application(name=name.strip(), team=team.strip(), contact=contact.strip())
    _save(application, Action.APPLICATION_CREATED, member_actor(by), f"an application “{name}”")
    return application


def add_environment(
    by: Member, name: str, *, is_production: bool = False, position: int = 0
) -> Environment:
    """Record an environment; `position` orders the lists. Raises Denied, BadInput, Conflict."""
    require_owner(by, "add environments")
    environment = Environment(name=name.strip(), is_production=is_production, position=position)
    _save(environment, Action.ENVIRONMENT_CREATED, member_actor(by), f"an environment “{name}”")
    return environment


def get_application(by: Member, application_id: int) -> Application:
    """Return the application if `by` may know of it; NotFound alike for unknown and foreign ones."""
    found = Application.objects.filter(pk=application_id).first()
    if found is None or not may(by, Permission.VIEW, found):
        raise NotFound("There is no such application, or it is not yours to see.")
    return found


def get_environment(by: Member, environment_id: int) -> Environment:
    """Return the environment if `by` may know of it; NotFound alike for unknown and foreign ones."""
    found = visible_environments(by).filter(pk=environment_id).first()
    if found is None:
        raise NotFound("There is no such environment, or it is not yours to see.")
    return found


def get_account(by: Member, account_id: int) -> VendorAccount:
    """Return the vendor account if `by` may know of it; NotFound alike for unknown and foreign."""
    found = VendorAccount.objects.filter(pk=account_id).first()
    if found is None or not may(by, Permission.VIEW, found):
        raise NotFound("There is no such account, or it is not yours to see.")
    return found


def visible_environments(by: Member) -> models.QuerySet[Environment]:
    """Return the environments that `by` may know of: those in which a grant shows something."""
    viewing = [role for role, verbs in ALLOWED.items() if Permission.VIEW in verbs]
    grants = live_grants(by).filter(role__in=viewing)
    if grants.filter(environment__isnull=True).exists():
        return Environment.objects.all()
    return Environment.objects.filter(pk__in=grants.values("environment_id"))


def visible_accounts(by: Member) -> models.QuerySet[VendorAccount]:
    """Return the vendor accounts that `by` may know of: all of them with any grant to view."""
    viewing = [role for role, verbs in ALLOWED.items() if Permission.VIEW in verbs]
    if live_grants(by).filter(role__in=viewing).exists():
        return VendorAccount.objects.all()
    return VendorAccount.objects.none()


def within_reach(by: Member, verb: Permission = Permission.VIEW) -> models.Q:
    """Match the rows with an application and an environment to which `by` may do `verb`."""
    roles = [role for role, verbs in ALLOWED.items() if verb in verbs]
    grants = live_grants(by).filter(role__in=roles)
    reach = models.Q(pk__in=[])
    for application, environment in grants.values_list("application_id", "environment_id"):
        part = models.Q(pk__isnull=False)
        if application is not None:
            part &= models.Q(application=application)
        if environment is not None:
            part &= models.Q(environment=environment)
        reach |= part
    return reach


def change_application(
    by: Member, application: Application, seen: str | None = None, **changes: str
) -> Application:
    """Change an application's name, team or contact; raises Denied, BadInput or Conflict."""
    require_owner(by, "change applications")
    return save_changes(by, application, Action.APPLICATION_CHANGED, changes, seen)


def change_environment(
    by: Member, environment: Environment, seen: str | None = None, **changes: Any
) -> Environment:
    """Change an environment's name, kind or place in lists; raises Denied, BadInput or Conflict."""
    require_owner(by, "change environments")
    return save_changes(by, environment, Action.ENVIRONMENT_CHANGED, changes, seen)


def save_changes(
    by: Member, row: Row, action: Action, changes: dict[str, Any], seen: str | None
) -> Row:
    """Store what differs, with what it was on record; `seen` marks the row that the person saw.

    Raises BadInput, or Conflict on a used name and on what somebody else changed since.
    """
    with transaction.atomic():
        fresh: Row = type(row)._default_manager.select_for_update().get(pk=row.pk)
        require_unchanged(seen, fresh)
        secret_names.refuse_secret(str(changes.get("name", "")))
        told = {}
        for name, value in changes.items():
            was, now = getattr(fresh, name), value.strip() if isinstance(value, str) else value
            if was != now:
                told[name] = (
                    f"{was if was != '' else 'nothing'} → {now if now != '' else 'nothing'}"
                )
                setattr(fresh, name, now)
        if told:
            require_clean(fresh)
            _store(fresh)
            record(action, member_actor(by), fresh, **told)
    return fresh


def _store(row: models.Model) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Conflict(
            "Another one has this name already. Nothing was changed.", code="name_used"
        ) from None


def _save(thing: Application | Environment, action: Action, actor: Actor, what: str) -> None:
    """Insert a checked row and its audit row together."""
    secret_names.refuse_secret(thing.name)
    require_clean(thing)
    try:
        with transaction.atomic():
            thing.save(force_insert=True)
            record(action, actor, thing)
    except IntegrityError:
        raise Conflict(
            f"There is {what} already. Nothing was stored. Choose another name.",
            code="name_used",
        ) from None
