"""A table of what directories send: an answer of 2xx means that the state is what was asked (P1, B111)."""

from typing import Any

import pytest

from keyvault.models import DirectoryEntry, Member
from tests.factories import make_member
from tests.keyvault.test_directory import TOKEN, scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
WORK = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OUT = {"active": False}


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.SCIM_TOKEN = TOKEN


def one(**operation: Any) -> dict[str, Any]:
    return {"Operations": [operation]}


def replace(path: str, value: Any) -> dict[str, Any]:
    return one(op="replace", path=path, value=value)


# Understood: the answer is 2xx, and these attributes have these values afterwards.
DONE: list[tuple[Any, dict[str, Any]]] = [
    (replace("active", False), OUT),
    (replace(f"{USER}:active", False), OUT),
    (replace(f"{USER.upper()}:ACTIVE", "FALSE"), OUT),
    (replace("Active", "False"), OUT),
    (replace("active", "false"), OUT),
    (replace("active", [{"value": "False"}]), OUT),
    (replace("active", [{"$ref": None, "value": "False"}]), OUT),
    (replace("active", [{"Value": False}]), OUT),
    (replace(f"{USER}:active", [False]), OUT),
    (one(op="Replace", value={"active": "False"}), OUT),
    (one(op="Replace", value={"Active": False}), OUT),
    (one(op="replace", value={f"{USER}:active": False}), OUT),
    (one(op="replace", value={USER: {"Active": "FALSE"}}), OUT),
    (one(op="ADD", value={"ACTIVE": [{"value": "false"}]}), OUT),
    (one(op="replace", path="", value={"active": False}), OUT),
    (one(op="replace", path=None, value={"active": False}), OUT),
    (one(Op="Replace", Path="Active", Value="False"), OUT),
    ({"operations": [{"OP": "replace", "PATH": "active", "VALUE": False}]}, OUT),
    ({"OPERATIONS": [{"op": "add", "path": "active", "value": False}], "schemas": []}, OUT),
    (
        {"Operations": [{"op": "replace", "path": "active", "value": v} for v in (True, "False")]},
        OUT,
    ),
    (replace("displayName", "Jo New"), {"displayName": "Jo New"}),
    (one(op="replace", value={"DisplayName": "Jo New"}), {"displayName": "Jo New"}),
    (replace("name.givenName", "Jo"), {"name": {"givenName": "Jo", "familyName": "Old"}}),
    (
        one(op="replace", value={"name.familyName": "New"}),
        {"name": {"givenName": "Jay", "familyName": "New"}},
    ),
    (
        one(op="add", path="NAME", value={"FamilyName": "New"}),
        {"name": {"givenName": "Jay", "familyName": "New"}},
    ),
    (replace("userName", "new@example.com"), {"userName": "new@example.com"}),
    (replace(f"{USER}:username", "new@example.com"), {"userName": "new@example.com"}),
    (
        replace('emails[type eq "work"].value', "new@example.com"),
        {"emails": [{"value": "new@example.com", "type": "work", "primary": True}]},
    ),
    (
        replace('Emails[Type EQ "work"].Value', "new@example.com"),
        {"emails": [{"value": "new@example.com", "type": "work", "primary": True}]},
    ),
    (
        replace('emails[primary eq "True"].value', "new@example.com"),
        {"emails": [{"value": "new@example.com", "type": "work", "primary": True}]},
    ),
    (
        replace('emails[type eq "home"].value', "home@example.com"),
        {
            "emails": [
                {"value": "old@example.com", "type": "work", "primary": True},
                {"value": "home@example.com", "type": "home"},
            ]
        },
    ),
    (
        replace("emails", [{"value": "new@example.com", "primary": "true"}]),
        {"emails": [{"value": "new@example.com", "primary": True}]},
    ),
    (
        one(op="remove", path='emails[type eq "work"]'),
        {"emails": None},
    ),
    (
        replace('emails[type eq "work"].value', None),
        {"emails": [{"type": "work", "primary": True}]},
    ),
    (replace("externalId", "00u1"), {"externalId": "00u1"}),
    (one(op="remove", path="externalId"), {"externalId": None}),
    (replace("title", "Head of Ops"), {"title": "Head of Ops"}),
    (one(op="remove", path="nickName"), {"nickName": None}),
    (replace(f"{WORK}:department", "Ops"), {WORK: {"department": "Ops"}}),
    (replace(f"{WORK}:manager", "26118915"), {WORK: {"manager": {"value": "26118915"}}}),
    (
        one(op="Add", path='phoneNumbers[type eq "work"].value', value="+1 555"),
        {"phoneNumbers": [{"type": "work", "value": "+1 555"}]},
    ),
    (
        {
            "Operations": [
                {"op": "Replace", "path": "title", "value": "Gone"},
                {"op": "Replace", "path": "active", "value": "False"},
            ]
        },
        {"title": "Gone", "active": False},
    ),
]
# Refused with this word of RFC 7644, and nothing is changed.
REFUSED: list[tuple[Any, str]] = [
    (one(op="remove", path="active"), "mutability"),
    (replace("active", None), "mutability"),
    (replace("active", 7), "invalidValue"),
    (replace("active", "no thanks"), "invalidValue"),
    (replace("active", []), "invalidValue"),
    (replace("active", [True, False]), "invalidValue"),
    (replace("active", {"value": False}), "invalidValue"),
    (replace("activ", False), "invalidPath"),
    (replace("active.value", False), "invalidPath"),
    (replace("urn:example:User:active", False), "invalidPath"),
    (replace("active[", False), "invalidPath"),
    (replace('active[value eq "true"]', False), "invalidFilter"),
    (replace(7, False), "invalidValue"),  # type: ignore[arg-type]
    (one(op="replace", value=False), "invalidValue"),
    (one(op="replace", value={"activ": False}), "invalidValue"),
    (one(op="replace", value={"active": False, "Active": True}), "invalidSyntax"),
    (one(op="replace", path="active", value=False, Value=True), "invalidSyntax"),
    (one(op="replace", value={"active": True, f"{USER}:active": False}), "invalidSyntax"),
    (one(op="replace", path="active"), "invalidValue"),
    (one(op="delete", path="active"), "invalidValue"),
    (one(path="active", value=False), "invalidValue"),
    ({"Operations": []}, "invalidValue"),
    ({"Operations": {"op": "replace", "path": "active", "value": False}}, "invalidSyntax"),
    ({"Operations": ["active"]}, "invalidSyntax"),
    ({}, "invalidSyntax"),
    ({"active": False}, "invalidSyntax"),
    (one(op="remove"), "noTarget"),
    (one(op="remove", path="userName"), "mutability"),
    (replace("userName", ""), "invalidValue"),
    (replace("userName", "\u202eevil@example.com"), "invalidValue"),
    (replace("id", "1"), "mutability"),
    (replace("groups", [{"value": "1"}]), "mutability"),
    (replace("password", "hunter2hunter2"), "invalidPath"),
    (one(op="replace", value={"password": "hunter2hunter2"}), "invalidValue"),
    (replace("roles", [{"value": "owner"}]), "invalidPath"),
    (replace('emails[type ne "work"].value', "x@example.com"), "noTarget"),
    (replace('emails[type eq "work"].value', "no address"), "invalidValue"),
    (replace("emails", "new@example.com"), "invalidValue"),
    (replace("displayName", ["a", "b"]), "invalidValue"),
    (replace("externalId", "x" * 300), "invalidValue"),
    (replace("title", "x" * 30_000), "invalidValue"),
    (
        {
            "Operations": [
                replace("displayName", "X")["Operations"][0],
                {"op": "replace", "path": "no", "value": 1},
            ]
        },
        "invalidPath",
    ),
    (
        {
            "Operations": [
                replace("active", False)["Operations"][0],
                replace("active", "?")["Operations"][0],
            ]
        },
        "invalidValue",
    ),
]


@pytest.fixture
def person(people: Any) -> Any:
    """Return a function that makes the person whom every shape is about, anew."""

    def made() -> dict[str, Any]:
        Member.objects.filter(username__in=["old@example.com", "new@example.com"]).delete()
        said = scim(
            "POST",
            "Users",
            {
                "userName": "old@example.com",
                "externalId": "ext-1",
                "displayName": "Jay Old",
                "name": {"givenName": "Jay", "familyName": "Old"},
                "emails": [{"value": "old@example.com", "type": "work", "primary": True}],
            },
        )
        assert said.status_code == 201, said.said
        return dict(said.said)

    return made


def seen(number: str) -> dict[str, Any]:
    said = scim("GET", f"Users/{number}").said
    assert Member.objects.get(pk=number).is_active == said["active"], "told and true are one"
    return dict(said)


def holds(asked: dict[str, Any], told: dict[str, Any]) -> bool:
    return all(told.get(name) == value for name, value in asked.items())


def test_a_patch_that_is_understood_is_done(person: Any) -> None:
    """P1, B111: names by any case, with the URN or nested under it, booleans as texts, no path."""
    wrong = []
    for body, asked in DONE:
        number = person()["id"]
        answer = scim("PATCH", f"Users/{number}", body)
        told = seen(number)
        if answer.status_code != 200 or answer.said != told or not holds(asked, told):
            wrong.append((body, answer.status_code, answer.said))
    assert wrong == []


def test_a_patch_that_is_not_understood_is_refused_and_changes_nothing(person: Any) -> None:
    """P1, B111: never 2xx for what was not done; of several operations all or none."""
    wrong = []
    made = person()
    before = seen(made["id"])
    for body, kind in REFUSED:
        answer = scim("PATCH", f"Users/{made['id']}", body)
        ok = (answer.status_code, answer.said.get("scimType")) == (400, kind)
        if (
            not ok
            or seen(made["id"]) != before
            or "hunter2" in str(answer.said)
            or "pydantic" in str(answer.said)
        ):
            wrong.append((body, kind, answer.status_code, answer.said))
    assert wrong == []


WHOLE: list[tuple[dict[str, Any], bool]] = [
    ({"Active": False}, True),
    ({"active": "FALSE"}, True),
    ({"active": [{"value": "False"}]}, True),
    ({f"{USER}:active": False}, True),
    ({USER: {"Active": "false"}}, True),
    ({"schemas": [USER, WORK], "active": False, "groups": [], "id": "7", "meta": {}}, True),
    ({"active": 7}, False),
    ({"activ": False}, False),
    ({"active": False, "Active": True}, False),
    ({"active": False, "password": "hunter2hunter2"}, False),
    ({"active": False, "roles": [{"value": "owner"}]}, False),
    ({"schemas": ["urn:example:other"], "active": False}, True),
    ({"active": False, "urn:example:other": {"a": 1}}, False),
]


@pytest.mark.parametrize(("fields", "understood"), WHOLE)
def test_put_deactivates_or_is_refused(person: Any, fields: Any, understood: bool) -> None:
    """P1: PUT {"Active": false} was answered 200 with the person still active."""
    made = person()
    before = seen(made["id"])
    answer = scim("PUT", f"Users/{made['id']}", {"userName": "old@example.com", **fields})
    assert (answer.status_code == 200) == understood, answer.said
    if understood:
        assert not seen(made["id"])["active"]
    else:
        assert answer.status_code == 400
        assert "hunter2" not in str(answer.said)
        assert seen(made["id"]) == before


@pytest.mark.parametrize(("fields", "understood"), WHOLE)
def test_nobody_is_made_active_who_was_not_to_be(
    people: Any, fields: Any, understood: bool
) -> None:
    """B111: POST with active "FALSE" made an active person."""
    answer = scim("POST", "Users", {"userName": "late@example.com", **fields})
    assert (answer.status_code == 201) == understood, answer.said
    made = Member.objects.filter(email="late@example.com")
    assert [one.is_active for one in made] == ([False] if understood else [])
    if not understood:
        assert not DirectoryEntry.objects.exists()
        return
    number = answer.said["id"]
    begun = scim("PATCH", f"Users/{number}", replace("active", "True"))
    assert (begun.status_code, seen(number)["active"]) == (200, True), "nothing was ever theirs"


def test_put_replaces_all_that_is_said(person: Any) -> None:
    """B111: names and addresses of a PUT were dropped with a 200."""
    made = person()
    body = {
        "schemas": [USER, WORK],
        "userName": "new@example.com",
        "name": {"givenName": "Jo", "familyName": "New"},
        "emails": [{"value": "New@Example.com", "type": "work", "primary": True}],
        "phoneNumbers": [{"value": "1", "type": "pager"}],
        "locale": "en-GB",
        WORK: {"department": "Ops", "manager": {"value": "7", "$ref": "urn:uuid:7"}},
    }
    answer = scim("PUT", f"Users/{made['id']}", body)
    assert answer.status_code == 200, answer.said
    told = seen(made["id"])
    assert holds({name: one for name, one in body.items() if name != "schemas"}, told)
    assert told["displayName"] == "Jo New"
    assert told["active"]
    assert "externalId" not in told
    member = Member.objects.get(pk=made["id"])
    assert (member.email, str(member)) == ("new@example.com", "Jo New")


def test_who_was_not_made_by_the_directory_is_described_by_what_is_here(people: Any) -> None:
    member = make_member("by-hand@example.com")
    assert seen(str(member.pk))["displayName"] == "by-hand"
    answer = scim(
        "PATCH", f"Users/{member.pk}", replace('emails[type eq "work"].value', "x@example.com")
    )
    assert answer.said["emails"] == [{"value": "x@example.com", "type": "work"}]
    member.refresh_from_db()
    assert (member.email, member.username) == ("x@example.com", "by-hand@example.com")
    Member.objects.filter(pk=member.pk).update(email="elsewhere@example.com", first_name="Else")
    told = seen(str(member.pk))
    assert (told["emails"][0]["value"], told["displayName"]) == ("elsewhere@example.com", "Else")
