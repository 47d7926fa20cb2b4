"""Roles and groups: given and taken by owners, never by oneself, and never the last owner's."""

import contextlib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.test import Client

from keyvault.access import groups, invitations, roles
from keyvault.access.permissions import Permission, may, visible_keys
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.models import Grant, Group, Invitation, Member, Role
from tests.api_client import Api, sign_in
from tests.factories import PASSWORD, grant, make_key, make_member


@pytest.fixture
def second(people: Any) -> Member:
    return grant(make_member("second@example.com"), Role.OWNER)


def test_a_role_until_friday_ends_on_friday(vendor: Any, place: Any, people: Any) -> None:
    key = make_key(vendor, place, people.owner)
    friday = datetime.now(UTC) + timedelta(days=3)
    roles.assign_role(people.owner, people.outsider, Role.VIEWER, expires_at=friday)
    assert may(people.outsider, Permission.VIEW, key)
    with time_machine.travel(friday + timedelta(seconds=1)):
        assert not may(people.outsider, Permission.VIEW, key)
        assert key not in visible_keys(people.outsider)
        assert roles.assign_role(people.owner, people.outsider, Role.VIEWER), (
            "and can be given again"
        )


def test_a_group_gives_its_roles_and_takes_them_with_the_next_request(
    vendor: Any, place: Any, people: Any
) -> None:
    """B68."""
    key = make_key(vendor, place, people.owner)
    group = groups.add_group(people.owner, "Payments")
    roles.assign_role(people.owner, group, Role.DEVELOPER, application=place.application)
    browser = sign_in(Client(), people.outsider)
    assert browser.get(f"/keys/{key.pk}/").status_code == 404
    groups.add_to_group(people.owner, group, people.outsider)
    assert browser.get(f"/keys/{key.pk}/").status_code == 200
    assert may(people.outsider, Permission.REVEAL, key)
    groups.remove_from_group(people.owner, group, people.outsider)
    assert browser.get(f"/keys/{key.pk}/").status_code == 404
    assert not may(people.outsider, Permission.REVEAL, key)


def test_nobody_raises_themselves_by_any_way(place: Any, people: Any, second: Member) -> None:
    """AC-5: T:privilege_escalation_matrix."""
    local = grant(make_member("local@example.com"), Role.OWNER, application=place.application)
    group = groups.add_group(people.owner, "All")
    roles.assign_role(people.owner, group, Role.OPERATOR)
    groups.add_to_group(people.owner, group, local)
    own = Grant.objects.get(member=people.owner)
    for act in (
        lambda: roles.assign_role(people.owner, people.owner, Role.AUDITOR),
        lambda: roles.revoke_role(people.owner, own),
        lambda: roles.assign_role(local, local, Role.OPERATOR, application=place.application),
        lambda: roles.assign_role(local, people.viewer, Role.OWNER),
        lambda: roles.assign_role(local, people.viewer, Role.VIEWER, environment=place.environment),
        lambda: roles.assign_role(local, group, Role.OWNER, application=place.application),
        lambda: roles.revoke_role(local, Grant.objects.get(member=people.auditor)),
        lambda: groups.add_group(local, "Mine"),
        lambda: groups.add_to_group(local, group, people.viewer),
        lambda: groups.add_to_group(people.owner, group, people.owner),
        lambda: people_door_invite(local),
    ):
        with pytest.raises(Denied):
            act()
    given = roles.assign_role(
        local, people.viewer, Role.OPERATOR, application=place.application,
        environment=place.environment,
    )  # fmt: skip
    roles.revoke_role(local, given)
    for role in set(Role) - {Role.OWNER}:
        member = grant(make_member(f"a-{role}@example.com"), role)
        with pytest.raises(Denied):
            roles.assign_role(member, people.outsider, Role.VIEWER)


def people_door_invite(by: Member) -> None:
    invitations.invite(by, "new@example.com")


def test_the_last_owner_stays(people: Any, second: Member) -> None:
    mine = Grant.objects.get(member=people.owner)
    roles.revoke_role(second, mine)
    third = grant(make_member("third@example.com"), Role.OWNER)
    Grant.objects.filter(member=third).update(expires_at=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(Conflict):
        roles.revoke_role(third, Grant.objects.get(member=second))
    assert Grant.objects.filter(member=second).exists()


def test_two_owners_who_take_each_others_role_do_not_both_succeed(
    people: Any, second: Member
) -> None:
    pairs = [
        (people.owner, Grant.objects.get(member=second)),
        (second, Grant.objects.get(member=people.owner)),
    ]
    barrier = threading.Barrier(2)

    def take(by: Member, one: Grant) -> None:
        barrier.wait()
        with contextlib.suppress(Conflict, Denied):
            roles.revoke_role(by, one)
        connections.close_all()

    threads = [threading.Thread(target=take, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert roles.owners().count() == 1


def test_impossible_roles_are_refused_with_the_reason(people: Any) -> None:
    with pytest.raises(BadInput):
        roles.assign_role(people.owner, people.viewer, "king")  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        roles.assign_role(
            people.owner, people.viewer, Role.VIEWER, expires_at=datetime(2020, 1, 1, tzinfo=UTC)
        )
    roles.assign_role(people.owner, people.viewer, Role.OPERATOR)
    with pytest.raises(Conflict):
        roles.assign_role(people.owner, people.viewer, Role.OPERATOR)
    Member.objects.filter(pk=people.viewer.pk).update(is_active=False)
    with pytest.raises(Conflict):
        roles.assign_role(people.owner, Member.objects.get(pk=people.viewer.pk), Role.AUDITOR)


def test_an_invitation_works_once_and_its_code_is_nowhere(people: Any) -> None:
    member, link = people_invite(people.owner)
    code = link.split("#")[1]
    assert code not in str(Invitation.objects.values_list("digest", flat=True).get())
    password = "seven purple anvils under water"
    form = {"code": code, "password": password, "name": "New Person"}
    browser = Client()
    weak = browser.post("/join", {**form, "password": "passwordpassword1"})
    assert "easy to guess" in weak.content.decode()
    assert browser.post("/join", form).status_code == 302
    assert browser.get("/").status_code == 200
    assert Client().post("/join", form).status_code == 403
    member.refresh_from_db()
    assert member.first_name == "New Person"
    answer = Client().post("/sign-in", {"login": "new@example.com", "password": password})
    assert answer.status_code == 302
    assert b"code" not in Client().get("/join?x=1").headers.get("Location", "").encode()


def people_invite(by: Member) -> tuple[Member, str]:
    member, link = invitations.invite(by, "new@example.com")
    return member, link.reveal()


def test_an_old_or_void_invitation_opens_nothing(people: Any) -> None:
    member, link = people_invite(people.owner)
    form = {"code": link.split("#")[1], "password": "seven purple anvils under water"}
    with time_machine.travel(datetime.now(UTC) + timedelta(days=8)):
        assert Client().post("/join", form).status_code == 403
    again = people_again(people.owner, member)
    assert Client().post("/join", form).status_code == 403, "a new link voids the old one"
    form["code"] = again.split("#")[1]
    assert Client().post("/join", form).status_code == 302


def people_again(by: Member, member: Member) -> str:
    return invitations.invite_again(by, member).reveal()


def test_setting_back_a_sign_in_ends_what_was_there(people: Any) -> None:
    browser = sign_in(Client(), people.viewer)
    people_again(people.owner, people.viewer)
    assert browser.get("/").status_code == 302
    answer = Client().post("/sign-in", {"login": "viewer@example.com", "password": PASSWORD})
    assert answer.status_code == 400
    with pytest.raises(Denied):
        people_again(people.owner, people.owner)


def test_guessing_invitations_is_bounded(people: Any) -> None:
    form = {"password": "seven purple anvils under water"}
    answers = [Client().post("/join", {**form, "code": f"kvi_{n}"}) for n in range(22)]
    assert "Too many tries" in answers[-1].content.decode()


def test_the_api_of_people(people: Any, place: Any) -> None:
    owner = Api(people.owner)
    made = owner.post("members/", {"email": "new@example.com"})
    assert made.status == 201, made.text
    assert "/join#kvi_" in made.json["link"]
    person = made.json["member"]["id"]
    body = {"member": person, "role": "viewer", "application": place.application.pk}
    given = owner.post("grants/", body)
    assert given.status == 201, given.text
    assert owner.post("grants/", body).status == 409
    detail = owner.get(f"members/{person}/").json
    assert [one["role"] for one in detail["grants"]] == ["viewer"]
    group = owner.post("groups/", {"name": "Payments"}).json["id"]
    assert owner.post(f"groups/{group}/members/", {"member": person}).status == 201
    assert owner.call("DELETE", f"groups/{group}/members/{person}").status == 204
    assert owner.call("DELETE", f"grants/{given.json['id']}/").status == 204
    assert owner.call("DELETE", f"groups/{group}/").status == 204
    assert not Group.objects.exists()
    assert owner.call("DELETE", f"members/{person}/sessions").status == 204
    viewer = Api(people.viewer)
    assert [one["id"] for one in viewer.get("members/").json["results"]] == [people.viewer.pk]
    assert viewer.get(f"members/{person}/").status == 404
    assert viewer.post("members/", {"email": "x@example.com"}).status == 403
    assert viewer.post("grants/", body).status == 404


def test_pages_of_people_work_and_hide_nothing_dangerous(people: Any, place: Any) -> None:
    client = sign_in(Client(), people.owner)
    page = client.post("/people/", {"email": "new@example.com", "name": "<i>New</i>"}, follow=True)
    assert "/join#kvi_" in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    member = Member.objects.get(email="new@example.com")
    path = f"/people/{member.pk}/"
    client.post(f"{path}roles", {"role": "viewer", "application": place.application.pk})
    grant = Grant.objects.get(member=member)
    shown = client.get(path).content.decode()
    assert "viewer of Billing" in shown
    assert "<i>New</i>" not in shown
    client.post(f"{path}roles/take", {"grant": grant.pk})
    assert not Grant.objects.filter(member=member).exists()
    assert client.post(f"{path}sessions").status_code == 302
    assert "/join#kvi_" in client.post(f"{path}invite", follow=True).content.decode()
    stale = sign_in(Client(), people.owner, proved=False)
    answer = stale.post(f"{path}roles", {"role": "owner"})
    assert "reauthenticate" in answer["Location"]
    assert not Grant.objects.filter(member=member).exists()
