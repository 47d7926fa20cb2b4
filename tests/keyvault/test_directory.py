"""The company's directory tells who came and who left, and nothing else by it (SCIM 2.0)."""

import json
from typing import Any

import pytest
from django.test import Client

from keyvault.audit.models import AuditEvent
from keyvault.models import Grant, Member, MemberSession, Role
from rotation.models.campaigns import Campaign
from rotation.tasks import tick
from tests import leakscan
from tests.api_client import sign_in
from tests.factories import make_key, make_member, show

TOKEN = "canary-directory-token-5571-of-the-company"
PATCH = {"Operations": [{"op": "Replace", "value": {"active": False}}]}


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.SCIM_TOKEN = TOKEN


def scim(method: str, path: str, body: Any = None, token: str = TOKEN) -> Any:
    """Call as a directory does."""
    answer = Client().generic(
        method,
        f"/scim/v2/{path}",
        json.dumps(body) if body is not None else "",
        content_type="application/scim+json",
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.said = json.loads(answer.content or "null")  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("how", ["patch", "path", "text", "put", "delete"])
def test_who_is_deactivated_there_is_out_at_once_and_off_boarded_by_the_next_tick(
    vendor: Any, place: Any, people: Any, how: str
) -> None:
    """AN-8: deactivation by the sign-on's side has the same effect as any other."""
    key = make_key(vendor, place, people.owner)
    leaver = people.developer
    show(leaver, key)
    browser = sign_in(Client(), leaver)
    found = scim("GET", 'Users?filter=userName%20eq%20"Developer@example.com"').said
    number = found["Resources"][0]["id"]
    bodies = {
        "patch": ("PATCH", PATCH),
        "path": ("PATCH", {"Operations": [{"op": "replace", "path": "active", "value": False}]}),
        "text": ("PATCH", {"Operations": [{"op": "Replace", "value": {"active": "False"}}]}),
        "put": ("PUT", {"userName": "developer@example.com", "active": False}),
        "delete": ("DELETE", None),
    }
    method, body = bodies[how]
    assert scim(method, f"Users/{number}", body).status_code in (200, 204)
    assert browser.get("/keys/").status_code == 302
    assert not MemberSession.objects.filter(member=leaver).exists()
    assert AuditEvent.objects.filter(action="member.deactivated").count() == 1
    tick()
    leaver.refresh_from_db()
    assert leaver.left_at
    assert Campaign.objects.get().items.get().key == key
    again = scim(
        "PATCH", f"Users/{number}", {"Operations": [{"op": "add", "path": "active", "value": True}]}
    )
    assert again.status_code == (404 if how == "delete" else 409)


def test_who_joins_there_is_recorded_without_any_role(people: Any) -> None:
    body = {"userName": "New@Example.com", "name": {"givenName": "New", "familyName": "Person"}}
    made = scim("POST", "Users", body)
    assert (made.status_code, made.said["displayName"]) == (201, "New Person")
    member = Member.objects.get(email="new@example.com")
    assert not member.has_usable_password()
    assert not Grant.objects.filter(member=member).exists()
    assert not member.is_staff
    again = scim("POST", "Users", body)
    assert (again.status_code, again.said["scimType"]) == (409, "uniqueness")


def test_the_last_owner_stays(people: Any) -> None:
    assert scim("PATCH", f"Users/{people.owner.pk}", PATCH).status_code == 409
    people.owner.refresh_from_db()
    assert people.owner.is_active
    second = make_member("second@example.com")
    Grant.objects.create(member=second, role=Role.OWNER)
    assert scim("PATCH", f"Users/{people.owner.pk}", PATCH).status_code == 200


def test_pages_of_people_and_a_person(people: Any) -> None:
    page = scim("GET", "Users?startIndex=2&count=2").said
    assert page["totalResults"] == Member.objects.count()
    assert (page["startIndex"], len(page["Resources"])) == (2, 2)
    one = scim("GET", f"Users/{people.viewer.pk}").said
    assert (one["userName"], one["active"]) == ("viewer@example.com", True)
    assert scim("GET", "ServiceProviderConfig").said["patch"]["supported"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "Users/999999", None, 404),
        ("GET", "Users?filter=password%20pr", None, 400),
        ("PATCH", "Users/{viewer}", {"Operations": "all"}, 400),
        (
            "PATCH",
            "Users/{viewer}",
            {"Operations": [{"op": "replace", "value": {"active": 7}}]},
            400,
        ),
        ("PATCH", "Users/{viewer}", [], 400),
        ("POST", "Users", {"userName": ""}, 400),
        ("POST", "Users", {"userName": "no address"}, 400),
        ("POST", "Users", {"userName": "a@example.com", "displayName": "x\u202ey"}, 400),
        ("POST", "Users", {"userName": "a\x00@example.com"}, 400),
        ("PUT", "Users", {}, 405),
    ],
)
def test_what_makes_no_sense_is_refused_in_its_own_form(
    people: Any, method: str, path: str, body: Any, status: int
) -> None:
    before = Member.objects.count()
    answer = scim(method, path.format(viewer=people.viewer.pk), body)
    assert answer.status_code == status, answer.content
    assert status == 405 or answer.said["status"] == str(status)
    assert Member.objects.count() == before
    assert Member.objects.get(pk=people.viewer.pk).is_active


def test_only_its_token_opens_it_and_nothing_without_the_setting(
    stack: Any, people: Any, settings: Any
) -> None:
    seen = []
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x"):
        answer = scim("DELETE", f"Users/{people.viewer.pk}", token=wrong)
        seen.append(answer.content.decode())
        assert answer.status_code == 401
    for _ in range(40):
        scim("GET", "Users", token="guess")
    assert AuditEvent.objects.filter(action="token.refused").count() == 20, (
        "a flood leaves few rows"
    )
    assert Member.objects.get(pk=people.viewer.pk).is_active
    assert scim("GET", "Users").status_code == 200
    assert leakscan.hits(stack, [TOKEN], seen) == []
    settings.SCIM_TOKEN = ""
    for given in ("", TOKEN):
        assert (
            Client().get("/scim/v2/Users", headers={"Authorization": f"Bearer {given}"}).status_code
            == 404
        )
