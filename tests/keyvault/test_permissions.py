"""Roles, scopes and owners: one question, and the list of visible keys answers it alike."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from keyvault.access.permissions import (
    ALLOWED,
    OWN_KEY,
    Permission,
    may,
    permissions_on,
    visible_applications,
    visible_keys,
)
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import Denied, NotFound
from keyvault.inventory import keys
from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    Grant,
    Member,
    Role,
    ServiceToken,
    VendorAccount,
)
from tests.factories import make_key, make_member, show

# What each role may do, written down a second time: a slip in the code is a difference here.
EXPECTED = {
    Role.VIEWER: "view",
    Role.DEVELOPER: "view reveal",
    Role.OPERATOR: "view rotate paste register waive",
    Role.OWNER: "view reveal rotate paste register waive manage read_audit",
    Role.AUDITOR: "read_audit",
}


@pytest.fixture
def world(database: None) -> dict[str, Any]:
    """Return two applications in two environments with keys of each, and keys of two members."""
    account = VendorAccount.objects.create(
        name="A", provider="influtics", base_url="https://x.invalid"
    )
    apps = [Application.objects.create(name=name) for name in ("one", "two")]
    environments = [Environment.objects.create(name=name) for name in ("dev", "prod")]
    members = [make_member(f"{name}@example.com") for name in ("me", "other")]
    made = []
    for environment in environments:
        for owner in (*apps, *members):
            kind = "application" if isinstance(owner, Application) else "member"
            made.append(
                ApiKey.objects.create(
                    account=account,
                    environment=environment,
                    name=f"{owner} {environment}",
                    **{kind: owner},
                )
            )
    return {
        "account": account,
        "apps": apps,
        "environments": environments,
        "me": members[0],
        "other": members[1],
        "keys": made,
    }


def covers(grant: Grant, key: ApiKey) -> bool:
    """Say in plain words what a grant reaches: each part that it names must be the key's."""
    return (grant.application is None or grant.application == key.application) and (
        grant.environment is None or grant.environment == key.environment
    )


def expected(grants: list[Grant], me: Member, verb: Permission, key: ApiKey) -> bool:
    if key.member == me and verb in OWN_KEY:
        return True
    if key.member is not None and key.member != me and verb == Permission.REVEAL:
        return any(grant.role == Role.OWNER and covers(grant, key) for grant in grants)
    return any(
        verb in EXPECTED[Role(grant.role)].split() and covers(grant, key) for grant in grants
    )


@pytest.mark.pure
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("verb", Permission)
def test_each_role_may_do_exactly_what_is_written_down(role: Role, verb: Permission) -> None:
    assert (verb in ALLOWED[role]) == (verb in EXPECTED[role].split())


@pytest.mark.parametrize("role", Role)
def test_may_and_the_lists_agree_for_every_scope_verb_and_key(
    world: dict[str, Any], role: Role
) -> None:
    """Each scope of a grant, each verb, each key: may(), visible_keys() and the table say the same."""
    me = world["me"]
    for application, environment in itertools.product(
        (None, *world["apps"]), (None, *world["environments"])
    ):
        Grant.objects.all().delete()
        grant = Grant.objects.create(
            member=me, role=role, application=application, environment=environment
        )
        for verb in Permission:
            listed = set(visible_keys(me, verb))
            for key in world["keys"]:
                wanted = expected([grant], me, verb, key)
                assert may(me, verb, key) == wanted, (str(grant), verb, str(key))
                assert (key in listed) == wanted, (str(grant), verb, str(key))
                assert (verb in permissions_on(me, key)) == wanted, (str(grant), verb, str(key))
        apps = set(visible_applications(me))
        assert apps == {app for app in world["apps"] if may(me, Permission.VIEW, app)}


def test_two_grants_add_up_and_do_not_multiply(world: dict[str, Any]) -> None:
    """Operator of one application and developer in one environment: neither reaches further."""
    me = world["me"]
    grants = [
        Grant.objects.create(member=me, role=Role.OPERATOR, application=world["apps"][0]),
        Grant.objects.create(member=me, role=Role.DEVELOPER, environment=world["environments"][1]),
    ]
    for verb, key in itertools.product(Permission, world["keys"]):
        wanted = expected(grants, me, verb, key)
        assert may(me, verb, key) == wanted
        assert (key in visible_keys(me, verb)) == wanted
        assert (verb in permissions_on(me, key)) == wanted


def test_a_members_own_key_is_revealed_to_that_member_and_else_to_owners_only(
    world: dict[str, Any],
) -> None:
    """And never to an owner alone: revealing asks a second person."""
    key = next(key for key in world["keys"] if key.member == world["other"])
    for role in set(Role) - {Role.OWNER}:
        Grant.objects.create(member=world["me"], role=role)
    assert not may(world["me"], Permission.REVEAL, key)
    assert key not in visible_keys(world["me"], Permission.REVEAL)
    Grant.objects.create(member=world["me"], role=Role.OWNER)
    assert may(world["me"], Permission.REVEAL, key)
    assert key in visible_keys(world["me"], Permission.REVEAL)
    assert may(world["me"], Permission.ROTATE, key)
    assert may(world["other"], Permission.REVEAL, key)
    assert not may(world["other"], Permission.MANAGE, key)


def test_without_a_grant_one_may_do_nothing_but_with_ones_own_keys(world: dict[str, Any]) -> None:
    me = world["me"]
    things = [*world["apps"], *world["environments"], world["account"], None]
    for verb in Permission:
        assert not any(may(me, verb, thing) for thing in things)
        mine = {key for key in world["keys"] if key.member == me}
        assert set(visible_keys(me, verb)) == (mine if verb in OWN_KEY else set())
    assert not visible_applications(me).exists()


@pytest.mark.parametrize("verb", Permission)
def test_an_expired_grant_and_an_inactive_member_may_do_nothing(
    world: dict[str, Any], verb: Permission
) -> None:
    """B11: from the next question on, whichever way it is asked."""
    me = world["me"]
    grant = Grant.objects.create(
        member=me, role=Role.OWNER, expires_at=timezone.now() + timedelta(hours=1)
    )
    theirs = next(key for key in world["keys"] if key.application)
    own = next(key for key in world["keys"] if key.member == me)
    assert may(me, verb, theirs)
    Grant.objects.filter(pk=grant.pk).update(expires_at=timezone.now())
    assert not may(me, verb, theirs)
    assert theirs not in visible_keys(me, verb)
    Grant.objects.filter(pk=grant.pk).update(expires_at=None)
    Member.objects.filter(pk=me.pk).update(is_active=False)
    stale, fresh = me, Member.objects.get(pk=me.pk)
    assert not may(stale, verb, theirs)
    assert not may(fresh, verb, theirs)
    assert not may(fresh, verb, own)
    assert not visible_keys(fresh, verb).exists()
    assert not visible_applications(fresh).exists()


def test_an_unknown_visitor_may_do_nothing(world: dict[str, Any]) -> None:
    visitor: Any = AnonymousUser()
    for verb, thing in itertools.product(Permission, [None, *world["keys"], *world["apps"]]):
        assert not may(visitor, verb, thing)
    assert not visible_keys(visitor).exists()


def test_being_superuser_or_staff_is_no_role(world: dict[str, Any]) -> None:
    """Django's own flags open the admin pages and no secret."""
    root = make_member("root@example.com", is_staff=True, is_superuser=True)
    assert not any(may(root, verb, key) for verb in Permission for key in world["keys"])
    assert not visible_keys(root).exists()


@pytest.mark.parametrize(
    ("scope", "manages"),
    [
        ({}, {"everything", "one", "two", "one dev", "two prod"}),
        ({"application": 0}, {"one", "one dev"}),
        ({"application": 0, "environment": 0}, {"one dev"}),
        ({"environment": 1}, {"two prod"}),
    ],
)
def test_an_owner_manages_within_the_grant_only(
    world: dict[str, Any], scope: dict[str, int], manages: set[str]
) -> None:
    """The owner of one application does not manage the installation, nor other applications."""
    (one, two), (dev, prod) = world["apps"], world["environments"]
    lists = {"application": world["apps"], "environment": world["environments"]}
    Grant.objects.create(
        member=world["me"], role=Role.OWNER, **{name: lists[name][n] for name, n in scope.items()}
    )
    things = {
        "everything": None,
        "one": one,
        "two": two,
        "one dev": ServiceToken(application=one, environment=dev),
        "two prod": ServiceToken(application=two, environment=prod),
    }
    assert {
        name for name, thing in things.items() if may(world["me"], Permission.MANAGE, thing)
    } == manages
    assert may(world["me"], Permission.MANAGE, dev) == ("everything" in manages)
    assert may(world["me"], Permission.MANAGE, world["account"]) == ("everything" in manages)


def test_an_unknown_key_and_one_of_others_read_alike(world: dict[str, Any]) -> None:
    """Other people's ids: 404 with the same words, so that nobody can count or probe."""
    theirs = next(key for key in world["keys"] if key.application)
    errors = []
    for key_id in (theirs.pk, 10**9, 0, -1, 2**63, 2**80):
        with pytest.raises(NotFound) as caught:
            keys.get_key(world["me"], key_id)
        errors.append((caught.value.message, caught.value.code, caught.value.status))
    assert len(set(errors)) == 1
    Grant.objects.create(member=world["me"], role=Role.VIEWER)
    assert keys.get_key(world["me"], theirs.pk) == theirs
    with pytest.raises(Denied):
        keys.get_key(world["me"], theirs.pk, Permission.REVEAL)


def test_the_roles_hold_at_the_doors_too(vendor: Any, place: Any, people: Any) -> None:
    """Each door asks; each denied reveal is on record."""
    key = make_key(vendor, place, people.owner)
    rows = AuditEvent.objects.count()
    for member in (people.operator, people.viewer, people.auditor, people.outsider):
        with pytest.raises(Denied):
            show(member, key, "curious about it")
    assert AuditEvent.objects.count() == rows + 4
    for member in (people.developer, people.viewer, people.auditor, people.outsider):
        with pytest.raises(Denied):
            keys.change_key(member, key, name="x", purpose="")
        with pytest.raises(Denied):
            keys.add_pasted(member, key, "inf_something-long", "standby")  # type: ignore[arg-type]
    for member in (people.auditor, people.outsider):
        with pytest.raises(NotFound):
            keys.check_key(member, key)
    assert AuditEvent.objects.count() == rows + 4
