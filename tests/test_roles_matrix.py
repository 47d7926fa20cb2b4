"""Every route, every role: nobody without a session, and no act without the right to it.

The routes come from the URL configuration, so a new one is walked as soon as it exists.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from keyvault.access.permissions import ALLOWED, Permission
from keyvault.audit.models import AuditEvent
from keyvault.models import Grant, Member, Role, ServiceToken
from tests.api_client import METHODS, sign_in
from tests.factories import grant, make_key, make_member

SCIM = "/scim/v2/"
# What opens without a session, and why.
OPEN = {
    "/sign-in": "the door itself",
    "/sign-out": "leads to the door",
    "/join": "asks for the code of an invitation",
    "/favicon.ico": "a picture",
    SCIM + "Users": "for the directory; not there without its token in the settings",
    f"{SCIM}Users/1": "for the directory",
    SCIM + "ServiceProviderConfig": "for the directory",
    "/calendar/feed/1.ics": "for calendars; opened by its address alone",
    "/health/live": "for load balancers",
    "/health/ready": "for load balancers; its words need the token",
    "/account/2fa/webauthn/login/": "the challenge for a passkey",
    "/account/2fa/authenticate/": "the second step of a sign-in, which leads back without the first",
    "/account/sso/cancelled/": "says that single sign-on was given up",
    "/account/sso/error/": "says that single sign-on failed",
    "/account/sso/closed/": "leads to the door",
    "/account/1/login/": "leads to the provider, of which there is none",
    "/account/1/callback/": "comes from the provider, of which there is none",
}
# What a service token opens instead of a session.
TOKEN_ROUTES = re.compile(
    r"/api/v1/keys/1/(secret|acknowledge)|/api/v1/applications/1/env.*/secrets"
)
PEOPLE = ("/api/v1/members/1/", "/people/1/")
STATE: tuple[Any, ...] = (Grant, Member, ServiceToken)


def routes(patterns: list[Any], prefix: str = "/") -> Iterator[str]:
    for one in patterns:
        here = prefix + str(one.pattern).lstrip("^")
        if isinstance(one, URLResolver):
            if not here.startswith("/admin/"):
                yield from routes(one.url_patterns, here)
        elif isinstance(one, URLPattern) and "(?P" not in here:
            yield re.sub(r"<[^>]+>", "1", here).rstrip("$")


ROUTES = sorted(set(routes(list(get_resolver().url_patterns))))


@pytest.fixture
def world(database: None, vendor: Any, place: Any, people: Any) -> dict[str, Member]:
    """Return a member of each role over one foreign place, and one over everything."""
    make_key(vendor, place, people.owner)
    from keyvault.models import Application

    other = Application.objects.create(name="Elsewhere")
    cast = {"nobody": make_member("nobody@example.com")}
    for role in Role:
        cast[f"{role} elsewhere"] = grant(
            make_member(f"{role}-e@example.com"), role, application=other
        )
        if role != Role.OWNER:
            cast[role.value] = grant(make_member(f"{role}-w@example.com"), role)
    return cast


def counts() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in STATE}


def test_there_are_many_routes_and_each_is_walked() -> None:
    assert len(ROUTES) > 90
    assert set(OPEN) <= set(ROUTES), set(OPEN) - set(ROUTES)


def test_every_route_denies_anonymous(world: dict[str, Member]) -> None:
    """AN-1: T:every_route_denies_anonymous."""
    client = Client(raise_request_exception=False)
    before = counts()
    for path in ROUTES:
        if path in OPEN:
            continue
        for method in METHODS:
            answer = client.generic(method, path, b"{}", content_type="application/json")
            away = answer.status_code == 302 and "/sign-in" in answer["Location"]
            assert away or answer.status_code in (401, 403, 404, 405), (method, path, answer)
            assert answer.status_code != 404 or path.startswith("/api/"), (method, path)
    assert counts() == before


def test_no_role_elsewhere_learns_of_or_changes_what_is_not_theirs(
    world: dict[str, Member],
) -> None:
    """AC-2: T:idor_matrix. 404 or 403, never 200 with a foreign thing, never a 500, never a change."""
    before, walked = counts(), 0
    for who, member in world.items():
        if not (who.endswith("elsewhere") or who == "nobody"):
            continue
        client = sign_in(Client(raise_request_exception=False), member)
        for path in ROUTES:
            if "/1" not in path or TOKEN_ROUTES.match(path) or path in OPEN:
                continue
            for method in METHODS:
                if _own_place(path) and (method == "GET" or "/2fa/" in path):
                    continue
                answer = client.generic(method, path, b"{}", content_type="application/json")
                walked += 1
                # Whoever gives roles somewhere must know who there is.
                people = who == "owner elsewhere" and path in PEOPLE and method == "GET"
                # The address of a form leads to the page above it, which is walked too.
                above = answer.status_code == 302 and path.startswith(answer["Location"])
                people |= above and method == "GET" and answer["Location"] != path
                assert people or answer.status_code in (400, 403, 404, 405), (who, method, path)
                assert "Billing" not in answer.content.decode(), (who, method, path)
    assert counts() == before
    assert walked > 1500


def _own_place(path: str) -> bool:
    """Accounts and environments are known to everybody with a role; one's own key is nobody's here."""
    return (
        bool(re.fullmatch(r"(/api/v1)?/(accounts/1/(settings)?|environments/1/)", path))
        or "/2fa/" in path
    )


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [
        (Permission.VIEW, "GET", "/api/v1/keys/1/"),
        (Permission.REVEAL, "POST", "/api/v1/keys/1/reveal"),
        (Permission.ROTATE, "POST", "/api/v1/keys/1/rotate"),
        (Permission.PASTE, "POST", "/api/v1/keys/1/versions/"),
        (Permission.REGISTER, "PATCH", "/api/v1/keys/1/"),
        (Permission.MANAGE, "POST", "/api/v1/members/"),
        (Permission.MANAGE, "POST", "/api/v1/applications/"),
        (Permission.MANAGE, "POST", "/api/v1/environments/"),
        (Permission.MANAGE, "POST", "/api/v1/groups/"),
        (Permission.READ_AUDIT, "GET", "/api/v1/audit/"),
    ],
)
def test_each_role_reaches_exactly_what_its_verbs_say(
    world: dict[str, Member], verb: Permission, method: str, path: str
) -> None:
    """The table in README is the one that the routes obey: denied is 403 or 404, allowed is not."""
    for role in Role:
        if role == Role.OWNER:
            continue
        client = sign_in(Client(), world[role.value])
        body = b'{"reason": "walking the matrix", "email": "x@y.zz", "name": "n", "secret": ""}'
        answer = client.generic(method, path, body, content_type="application/json")
        denied = answer.status_code in (403, 404) and answer.json()["code"] in (
            "denied",
            "not_found",
        )
        # A body that does not fit is told before the right is looked at; it changes nothing.
        unfit = answer.status_code == 400
        assert unfit or denied == (verb not in ALLOWED[role]), (role, path, answer.content)


def test_denied_reveals_of_the_walk_are_on_record(world: dict[str, Member]) -> None:
    client = sign_in(Client(), world["viewer"])
    client.post("/api/v1/keys/1/reveal", {"reason": "a walk"}, content_type="application/json")
    assert AuditEvent.objects.filter(action="secret.revealed", outcome="denied").count() == 1
