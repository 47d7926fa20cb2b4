"""Renames follow, nobody is there twice, a return is a person's to decide, and errors are SCIM's own."""

import json
from datetime import time
from typing import Any
from urllib.parse import quote

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from keyvault.audit.models import AuditEvent
from keyvault.models import DirectoryEntry, Grant, Member
from rotation.campaigns import reinstatement
from rotation.models import HumanTask, Notification, NotificationPreference
from tests.factories import PASSWORD, make_member
from tests.keyvault.test_directory import TOKEN, scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.SCIM_TOKEN = TOKEN


def patch(**values: Any) -> dict[str, Any]:
    return {"Operations": [{"op": "replace", "value": values}]}


def found(text: str) -> list[str]:
    said = scim("GET", f"Users?filter={quote(text)}").said
    return [one["id"] for one in said["Resources"]]


def signs_in(email: str) -> bool:
    answer = Client().post("/sign-in", {"login": email, "password": PASSWORD})
    return answer.status_code == 302


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_new_name_and_address_lead_to_the_same_person(people: Any, method: str) -> None:
    """B111: the old name led to a second person, and the first could not be deactivated any more."""
    member = people.developer
    old, new = member.email, "married@example.com"
    EmailAddress.objects.create(user=member, email=old, verified=True, primary=True)
    named = {
        "userName": new,
        "displayName": "Dev Married",
        "emails": [{"value": new, "primary": True}],
    }
    body = named if method == "PUT" else patch(**named)
    assert scim(method, f"Users/{member.pk}", body).status_code == 200
    assert (
        found(f'userName eq "{new.upper()}"')
        == found(f'emails.value eq "{new}"')
        == [str(member.pk)]
    )
    assert found(f'userName eq "{old}"') == found(f'emails eq "{old}"') == []
    member.refresh_from_db()
    assert (member.username, member.email, str(member)) == (new, new, "Dev Married")
    assert not EmailAddress.objects.filter(email=old).exists()
    assert signs_in(new)
    assert not signs_in(old)
    assert AuditEvent.objects.filter(action="member.changed").count() == 1
    told = Notification.objects.get(about__startswith="directory-address")
    assert told.messages.filter(member=people.owner).exists(), "their roles went with the address"
    assert scim("PATCH", f"Users/{member.pk}", patch(active=False)).status_code == 200
    assert not Member.objects.get(pk=member.pk).is_active


def test_without_a_role_an_address_changes_quietly(people: Any) -> None:
    assert (
        scim("PATCH", f"Users/{people.outsider.pk}", patch(userName="x@example.com")).status_code
        == 200
    )
    assert not Notification.objects.exists()
    assert Member.objects.get(pk=people.outsider.pk).email == "x@example.com"


@pytest.mark.parametrize(
    "values",
    [
        {"userName": "viewer@example.com"},
        {"emails": [{"value": "Viewer@example.com"}]},
        {"externalId": "taken"},
    ],
)
def test_what_another_person_has_is_a_conflict_that_owners_hear_of(
    people: Any, values: Any
) -> None:
    """B111: 409 uniqueness, nothing changed, one notice however often it is tried."""
    DirectoryEntry.objects.create(member=people.auditor, external_id="taken")
    before = scim("GET", f"Users/{people.developer.pk}").said
    for _ in range(3):
        answer = scim("PATCH", f"Users/{people.developer.pk}", patch(title="New", **values))
        assert (answer.status_code, answer.said["scimType"]) == (409, "uniqueness")
    assert scim("GET", f"Users/{people.developer.pk}").said == before
    told = Notification.objects.get()
    assert told.messages.filter(member=people.owner).exists()
    posted = scim("POST", "Users", {"userName": "n@example.com", **values})
    assert (posted.status_code, posted.said["scimType"]) == (409, "uniqueness")
    assert not Member.objects.filter(username="n@example.com").exists()


def test_a_refused_return_is_one_task_with_the_way_back(people: Any) -> None:
    """B111: 409 for ever, and nobody was told; a directory tries again in each cycle."""
    member = people.viewer
    assert scim("PATCH", f"Users/{member.pk}", patch(active="False")).status_code == 200
    for method, body in [
        ("PATCH", patch(active="True", title="Back")),
        ("PUT", {"userName": member.email, "active": True}),
        ("PATCH", patch(active=True)),
        ("POST", {"userName": member.email}),
    ]:
        path = "Users" if method == "POST" else f"Users/{member.pk}"
        answer = scim(method, path, body)
        assert answer.status_code == 409, answer.said
        assert method == "POST" or "an owner lets them come back" in answer.said["detail"]
    assert "title" not in scim("GET", f"Users/{member.pk}").said
    task = HumanTask.objects.get(about=f"return:{member.pk}")
    assert "no role" in task.text
    assert scim("PATCH", f"Users/{member.pk}", patch(active=False)).status_code == 200
    task.refresh_from_db()
    assert task.closed_at, "the directory has them inactive as well"
    scim("PATCH", f"Users/{member.pk}", patch(active=True))
    reinstatement.let_come_back(people.owner, member)
    assert not HumanTask.objects.filter(about=task.about, closed_at=None).exists()
    assert scim("PATCH", f"Users/{member.pk}", patch(active=True)).status_code == 200
    assert not Grant.objects.filter(member=member).exists()


def test_who_was_deleted_is_not_there_any_more(people: Any) -> None:
    """P11: GET after DELETE was 200; whoever is let in again by an owner is there again."""
    number = people.viewer.pk
    assert scim("DELETE", f"Users/{number}").status_code == 204
    for method, body in [
        ("GET", None),
        ("DELETE", None),
        ("PUT", {}),
        ("PATCH", patch(active=True)),
    ]:
        answer = scim(method, f"Users/{number}", body)
        assert (answer.status_code, answer.said["status"]) == (404, "404")
    assert found('userName eq "viewer@example.com"') == []
    listed = scim("GET", "Users").said
    assert str(number) not in {one["id"] for one in listed["Resources"]}
    assert listed["totalResults"] == Member.objects.count() - 1
    Member.objects.filter(pk=number).update(is_active=True)
    assert scim("GET", f"Users/{number}").said["active"]
    assert scim("PATCH", f"Users/{number}", patch(active=False)).status_code == 200
    assert not scim("GET", f"Users/{number}").said["active"]
    assert scim("DELETE", f"Users/{people.owner.pk}").status_code == 409
    assert scim("GET", f"Users/{people.owner.pk}").said["active"]


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ('userName eq "Viewer@Example.com"', "viewer"),
        (f'{USER}:USERNAME EQ "viewer@example.com"', "viewer"),
        ('externalId eq "Ext-7"', "auditor"),
        ('externalId eq "ext-7"', ""),
        ('externalId eq ""', ""),
        ('emails.value eq "second@example.com"', "auditor"),
        ('emails eq "viewer@example.com"', "viewer"),
        ('id eq "0"', ""),
        ('id eq "99999999999999"', ""),
        ('userName eq "viewer@example.com" and active eq true', "viewer"),
        ('userName eq "viewer@example.com" and active eq false', ""),
        ('userName eq "nobody@x.org" or externalId eq "Ext-7"', "auditor"),
        ('(userName eq "viewer@example.com")', "viewer"),
    ],
)
def test_filters_by_which_directories_match_people(people: Any, text: str, who: str) -> None:
    """B111: `externalId eq` and `id eq` were 400."""
    auditor = people.auditor
    emails = [{"value": auditor.email, "primary": True}, {"value": "Second@example.com"}]
    assert (
        scim("PATCH", f"Users/{auditor.pk}", patch(externalId="Ext-7", emails=emails)).status_code
        == 200
    )
    assert found(text) == ([str(getattr(people, who).pk)] if who else [])
    assert found(f'id eq "{auditor.pk}"') == [str(auditor.pk)]


@pytest.mark.parametrize(
    "text",
    [
        "", "userName", "userName eq", "password pr", "userName pr", 'userName ne "a"', 'title eq "a"',
        'userName co "a"', 'not (userName eq "a")', "userName eq 7", 'foo eq "a"', 'active eq "yes"',
        'emails[type eq "work" and value eq "a"]', 'userName eq "a" and', "(" * 900, "x" * 5000,
        'urn:example:other:userName eq "a"', 'userName eq "a\\u0000"',
    ],
)  # fmt: skip
def test_other_filters_are_refused(people: Any, text: str) -> None:
    answer = scim("GET", f"Users?filter={quote(text)}")
    assert (answer.status_code, answer.said["scimType"]) == (400, "invalidFilter")


def test_pages_and_chosen_attributes(people: Any) -> None:
    everybody = Member.objects.count()
    page = scim("GET", "Users?startIndex=1&count=0").said
    assert (page["totalResults"], page["itemsPerPage"], page["Resources"]) == (everybody, 0, [])
    assert scim("GET", "Users?startIndex=-3&count=-1").said["itemsPerPage"] == 0
    assert scim("GET", "Users?startIndex=999").said["Resources"] == []
    assert scim("GET", "Users?count=many").status_code == 400
    one = scim("GET", f"Users/{people.viewer.pk}?attributes=userName").said
    assert set(one) == {"schemas", "id", "userName", "meta"}
    assert (
        "displayName"
        not in scim("GET", f"Users/{people.viewer.pk}?excludedAttributes=displayName").said
    )
    both = scim("GET", "Users?attributes=active&excludedAttributes=name")
    assert (both.status_code, both.said["scimType"]) == (400, "invalidPath")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "ServiceProviderConfig", 200), ("GET", "ServiceProviderConfig/", 200),
        ("GET", "Schemas", 200), ("GET", "Schemas/", 200), ("GET", f"Schemas/{USER}", 200),
        ("GET", "Schemas/urn:none", 404), ("GET", "Schemas?filter=a", 403),
        ("GET", "ResourceTypes", 200), ("GET", "ResourceTypes/User", 200), ("GET", "ResourceTypes/X", 404),
        ("GET", "Groups", 200), ("GET", "Groups/", 200), ("GET", "Groups?filter=x", 200),
        ("GET", "Groups/1", 404), ("POST", "Groups", 501), ("PATCH", "Groups/1", 501),
        ("GET", "Users/", 200), ("GET", "Users/abc", 404), ("GET", "Users/0", 404),
        ("GET", "Users/99999999999999999999", 404), ("GET", "Users/1/x", 404),
        ("GET", "", 404), ("GET", "Nothing", 404), ("GET", "Me", 501), ("POST", "Bulk", 501),
        ("POST", ".search", 501), ("PUT", "Users", 405), ("DELETE", "Schemas", 405),
        ("OPTIONS", "Users", 405),
    ],
)  # fmt: skip
def test_every_address_answers_in_scims_own_form(
    people: Any, method: str, path: str, status: int
) -> None:
    """P11: the small documents and addresses with a slash at the end were 404 as HTML."""
    answer = scim(method, path, {} if method in ("POST", "PATCH", "PUT") else None)
    assert answer.status_code == status, answer.said
    assert answer["Content-Type"] == "application/scim+json"
    if status >= 400:
        assert answer.said["status"] == str(status)
        assert answer.said["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert answer.said["detail"]


def test_a_broken_body_is_refused_in_scims_own_form(people: Any) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"a": NaN}',
        b"[" * 5000,
        b'{"a":' * 400 + b"1" + b"}" * 400,
    ):
        for method, path in (("POST", "Users"), ("PATCH", f"Users/{people.viewer.pk}")):
            answer = Client().generic(
                method, f"/scim/v2/{path}", body, headers={"Authorization": f"Bearer {TOKEN}"}
            )
            assert answer.status_code == 400
            assert json.loads(answer.content)["scimType"] == "invalidSyntax", body[:10]


def test_what_is_shown_names_nothing_else(people: Any) -> None:
    member = make_member("plain@example.com")
    told = scim("GET", f"Users/{member.pk}")
    assert set(told.said) == {"schemas", "id", "userName", "displayName", "active", "meta"}
    assert told["Location"] == told.said["meta"]["location"]


def test_even_a_failure_is_told_in_scims_own_form(people: Any, settings: Any) -> None:
    # A row that no form lets in: the owners cannot be notified, which nobody foresaw.
    settings.EMAIL_HOST = "mail.example.com"
    NotificationPreference.objects.create(
        member=people.owner, time_zone="No/Where", quiet_from=time(1), quiet_to=time(2)
    )
    answer = Client(raise_request_exception=False).generic(
        "POST",
        "/scim/v2/Users",
        json.dumps({"userName": people.viewer.email}),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert (answer.status_code, json.loads(answer.content)["status"]) == (500, "500")
