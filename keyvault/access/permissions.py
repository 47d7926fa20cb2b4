"""May this member do this to this thing? One question, one function, answered anew each time."""

from django.db import models
from django.db.models import Exists, Q
from django.utils import timezone

from keyvault.core.errors import Denied
from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    Grant,
    Group,
    Member,
    Role,
    ServiceToken,
    VendorAccount,
)


class Permission(models.TextChoices):
    """What a person may want to do."""

    VIEW = "view", "View"
    REVEAL = "reveal", "Reveal"
    ROTATE = "rotate", "Rotate"
    PASTE = "paste", "Paste"
    REGISTER = "register", "Register"
    WAIVE = "waive", "Waive"
    MANAGE = "manage", "Manage"
    READ_AUDIT = "read_audit", "Read Audit"


ALLOWED: dict[str, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.DEVELOPER: frozenset({Permission.VIEW, Permission.REVEAL}),
    Role.OPERATOR: frozenset(
        {
            Permission.VIEW,
            Permission.ROTATE,
            Permission.PASTE,
            Permission.REGISTER,
            Permission.WAIVE,
        }
    ),
    Role.OWNER: frozenset(Permission),
    Role.AUDITOR: frozenset({Permission.READ_AUDIT}),
}
# What the member a key belongs to may do with it; a reveal is theirs alone.
OWN_KEY = frozenset(
    {
        Permission.VIEW,
        Permission.REVEAL,
        Permission.ROTATE,
        Permission.PASTE,
        Permission.REGISTER,
        Permission.WAIVE,
    }
)

Thing = ApiKey | Application | Environment | VendorAccount | ServiceToken | None


def may(member: Member, verb: Permission, thing: Thing = None) -> bool:
    """Return whether `member` may do `verb` to `thing` (None: to the installation as a whole)."""
    if not (member.is_active and member.pk):
        return False
    if isinstance(thing, ApiKey) and thing.member_id is not None:
        if thing.member_id == member.pk:
            return verb in OWN_KEY or _granted(member, verb, thing)
        if verb == Permission.REVEAL:
            # An owner only, and never alone: revealing.py asks a second person.
            return _granted(member, Permission.MANAGE, thing)
    return _granted(member, verb, thing)


def permissions_on(member: Member, key: ApiKey) -> frozenset[Permission]:
    """Return all that `member` may do to a key, in one statement; agrees with `may` for each verb."""
    if not (member.is_active and member.pk):
        return frozenset()
    roles = live_grants(member).filter(_covers(Permission.VIEW, key)).values_list("role", flat=True)
    granted = frozenset(verb for role in roles for verb in ALLOWED[role])
    if key.member_id is None:
        return granted
    if key.member_id == member.pk:
        return granted | OWN_KEY
    # An owner only, and never alone: revealing.py asks a second person.
    return granted if Permission.MANAGE in granted else granted - {Permission.REVEAL}


def require_owner(member: Member, what: str) -> None:
    """Raise Denied, saying what (such as "add groups"), unless the member owns the installation."""
    if not may(member, Permission.MANAGE):
        raise Denied(f"Only an owner of the installation may {what}. Nothing was changed.")


def lock_member(member: Member) -> None:
    """Keep an active member active until the caller's transaction ends; Denied for one who left.

    Whoever off-boards them waits, and then finds what this transaction wrote.
    """
    here = Member.objects.select_for_update(no_key=True).filter(pk=member.pk, is_active=True)
    if not here.exists():
        raise Denied("You are not a member any more. Nothing was changed.")


def _granted(member: Member, verb: Permission, thing: Thing) -> bool:
    roles = [role for role, verbs in ALLOWED.items() if verb in verbs]
    grants = live_grants(member).filter(role__in=roles)
    return grants.filter(_covers(verb, thing)).exists()


def holders(verb: Permission, thing: Thing) -> models.QuerySet[Member]:
    """Return the active members who may do this to this thing by a role; the reverse of `may`."""
    roles = [role for role, verbs in ALLOWED.items() if verb in verbs]
    found = Grant.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), role__in=roles
    ).filter(_covers(verb, thing))
    have = Q(pk__in=found.values("member")) | Q(teams__in=found.values("group"))
    return Member.objects.filter(have, is_active=True).distinct()


def live_grants(member: Member) -> models.QuerySet[Grant]:
    """Return the grants of an active member, own and of groups, that have not expired."""
    groups = Group.members.through.objects.filter(member=member).values("group_id")
    return Grant.objects.filter(
        Q(member=member) | Q(group__in=groups),
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        Exists(Member.objects.filter(pk=member.pk, is_active=True)),
    )


def manages(member: Member, application: int | None, environment: int | None) -> bool:
    """Return whether the member is an owner of all that a grant of this scope would reach."""
    reach = Q(application__isnull=True) | Q(application=application)
    reach &= Q(environment__isnull=True) | Q(environment=environment)
    return grants_with(member, Permission.MANAGE).filter(reach).exists()


def may_somewhere(member: Member, verb: Permission) -> bool:
    """Return whether the member has this verb over anything at all."""
    return grants_with(member, verb).exists()


def grants_with(member: Member, verb: Permission) -> models.QuerySet[Grant]:
    """Return the live grants of a member that carry this verb, wherever they reach."""
    roles = [role for role, verbs in ALLOWED.items() if verb in verbs]
    return live_grants(member).filter(role__in=roles)


def _covers(verb: Permission, thing: Thing) -> Q:
    """Match the grants that reach `thing`: a missing part of a grant stands for all of that part."""
    everywhere = Q(application__isnull=True, environment__isnull=True)
    if isinstance(thing, ApiKey | ServiceToken):
        application = thing.application_id
        part = Q(application__isnull=True)
        if application is not None:
            part |= Q(application=application)
        return part & (Q(environment__isnull=True) | Q(environment=thing.environment_id))
    if isinstance(thing, Application) and verb in (Permission.VIEW, Permission.REGISTER):
        return Q(application__isnull=True) | Q(application=thing)
    if isinstance(thing, Application):
        return everywhere | Q(application=thing, environment__isnull=True)
    if isinstance(thing, Environment) and verb == Permission.VIEW:
        return Q(environment__isnull=True) | Q(environment=thing)
    if isinstance(thing, VendorAccount) and verb == Permission.VIEW:
        return Q()
    return everywhere


def visible_keys(
    member: Member, verb: Permission = Permission.VIEW, *, archived: bool = False
) -> models.QuerySet[ApiKey]:
    """Return the keys that `member` may do `verb` to; agrees with `may` for each of them.

    Retired ones only with `archived`.
    """
    if not member.is_active:
        return ApiKey.objects.none()
    reach = _reach(member, verb)
    if verb == Permission.REVEAL:
        # Somebody else's own key is for owners, and revealing.py asks a second person.
        reach &= Q(member__isnull=True) | _reach(member, Permission.MANAGE)
    if verb in OWN_KEY:
        reach |= Q(member=member)
    found = ApiKey.objects.filter(reach)
    return found if archived else found.filter(archived_at__isnull=True)


def _reach(member: Member, verb: Permission) -> Q:
    """Match what lies within the grants that carry this verb, by application and environment."""
    reach = Q(pk__in=[])
    for application, environment in grants_with(member, verb).values_list(
        "application_id", "environment_id"
    ):
        part = Q()
        if application is not None:
            part &= Q(application=application)
        if environment is not None:
            part &= Q(environment=environment)
        reach |= part if part else Q(pk__isnull=False)
    return reach


def visible_applications(member: Member) -> models.QuerySet[Application]:
    """Return the applications that `member` may know of."""
    grants = live_grants(member).exclude(role=Role.AUDITOR)
    if grants.filter(application__isnull=True).exists():
        return Application.objects.all()
    return Application.objects.filter(pk__in=grants.values("application_id"))
