"""Somebody leaves: what they could reach is known, taken back in one act, and rotated."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from keyvault.access import exposure, roles
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.delivery import fetch, tokens
from keyvault.delivery.tokens import TokenRefused
from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import ApiKey, Grant, Group, Invitation, Member, MemberSession, Role
from rotation.campaigns import offboarding
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Reason, Rotation
from rotation.models.campaigns import Campaign
from tests import leakscan
from tests.api_client import Api, sign_in
from tests.commands import call
from tests.factories import grant, make_key, make_member, secret_of, show
from tests.rotation.driving import drive


@pytest.fixture
def leaver(people: Any, place: Any) -> Member:
    """Return somebody with roles of their own and of a group, who can do much."""
    member = make_member("leaver@example.com")
    grant(member, Role.OWNER, application=place.application)
    group = Group.objects.create(name="Night shift")
    group.members.add(member)
    Grant.objects.create(group=group, role=Role.OPERATOR)
    return member


def exposed(member: Member) -> dict[str, list[str]]:
    return {one.key.name: one.how for one in exposure.to_person(member)}


def test_exposure_is_what_the_person_knows_of_living_secrets(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    """B69: revealed, brought in, own, or within reach of a token they were shown; with the way."""
    seen = make_key(vendor, place, people.owner, name="seen")
    make_key(vendor, place, leaver, name="brought")
    make_key(vendor, place, people.owner, name="unknown to them")
    text = vendor.create_key(place.vendor_manual["id"])["key"]
    own = NewKey(place.manual_account, place.environment, "own", member=leaver)
    register_key(leaver, own, text)
    far = make_key(vendor, place, people.owner, name="far", environment=place.production)
    tokens.issue(leaver, "cron", place.application, place.production)
    show(leaver, seen)
    found = exposed(leaver)
    assert sorted(found) == ["brought", "far", "own", "seen"]
    assert found["far"] == ["could fetch it by the token “cron” they were shown"]
    assert found["brought"] == ["brought in version 1"]
    assert found["seen"][0].startswith("revealed it on")
    assert far.name in found


def test_what_was_rotated_since_is_exposed_no_more(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner, name="seen")
    show(leaver, key)
    rotation, _ = lifecycle.start(people.owner, key, Reason.LEAK)
    drive(rotation)
    assert Rotation.objects.get().step == "done"
    assert exposed(leaver) == {}


def test_one_act_takes_everything_back_and_rotates_what_they_know(
    stack: Any, vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    """TM-19, AN-8: T:leaver_drill."""
    key = make_key(vendor, place, people.owner, name="seen")
    secret = show(leaver, key).reveal()
    _, text = tokens.issue(leaver, "cron", place.application, place.environment)
    mine = NewKey(place.manual_account, place.environment, "own", member=leaver)
    register_key(leaver, mine, vendor.create_key(place.vendor_manual["id"])["key"])
    browser = sign_in(Client(), leaver)
    assert browser.get("/keys/").status_code == 200
    done = offboarding.off_board(people.owner, leaver, heir=people.developer)
    assert browser.get("/keys/").status_code == 302
    assert not MemberSession.objects.filter(member=leaver).exists()
    assert not Grant.objects.filter(member=leaver).exists()
    assert not Group.objects.filter(members=leaver).exists()
    with pytest.raises(TokenRefused):
        fetch.fetch(text.reveal(), key.pk)
    assert ApiKey.objects.get(name="own").member == people.developer
    campaign = Campaign.objects.get()
    assert done.campaign == campaign
    assert {item.key.name for item in campaign.items.all()} == {"seen", "own"}
    from rotation.campaigns import service

    assert service.work() == 2
    started = Rotation.objects.get(key=key)
    assert (started.reason, started.requested_by) == ("leaver", people.owner)
    drive(started)
    assert secret_of(ApiKey.objects.get(pk=key.pk).current) != secret
    row = AuditEvent.objects.get(action="member.offboarded")
    assert row.actor_id == str(people.owner.pk)
    assert leakscan.hits(stack, [secret, text.reveal().split("_", 2)[2]], [row.payload]) == []


def _saved(member: Member) -> None:
    member.is_active = False
    member.save()


def _updated(member: Member) -> None:
    Member.objects.filter(pk=member.pk).update(is_active=False)


def _by_hand(member: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE keyvault_member SET is_active = false WHERE id = %s", [member.pk])


@pytest.mark.parametrize("door", [_saved, _updated, _by_hand])
def test_whoever_was_deactivated_by_another_door_is_off_boarded_by_the_next_tick(
    vendor: Any, place: Any, people: Any, leaver: Member, door: Any
) -> None:
    from rotation.tasks import tick

    key = make_key(vendor, place, people.owner, name="seen")
    show(leaver, key)
    browser = sign_in(Client(), leaver)
    door(leaver)
    assert browser.get("/keys/").status_code == 302, "at once, before any tick"
    tick()
    leaver.refresh_from_db()
    assert leaver.left_at
    assert Campaign.objects.get().items.get().key == key
    tick()
    assert Campaign.objects.count() == 1, "once only"
    assert "was deactivated" in AuditEvent.objects.get(action="member.offboarded").actor_label


def test_tokens_in_use_may_be_given_time(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner)
    token, text = tokens.issue(leaver, "cron", place.application, place.environment)
    offboarding.off_board(people.owner, leaver, heir=people.owner, token_hours=24)
    assert fetch.fetch(text.reveal(), key.pk).secret
    token.refresh_from_db()
    assert token.expires_at


def test_a_standby_that_the_leaver_brought_in_is_never_used(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner)
    made = vendor.create_key(place.vendor_api["id"])
    manual_keys.add_standby(leaver, key, made["key"])
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    assert "brought in this standby" in HumanTask.objects.get(kind="finding").text
    rotation, _ = lifecycle.start(people.owner, key, Reason.LEAK)
    drive(rotation)
    assert secret_of(ApiKey.objects.get(pk=key.pk).current) != made["key"]


def test_who_may_and_what_is_refused(people: Any, leaver: Member) -> None:
    for who in (people.operator, people.viewer, people.auditor):
        with pytest.raises(Denied):
            offboarding.off_board(who, leaver, heir=people.owner)
    with pytest.raises(Denied):
        offboarding.off_board(people.owner, people.owner, heir=leaver)
    with pytest.raises(BadInput):
        offboarding.off_board(people.owner, leaver, heir=leaver)
    with pytest.raises(BadInput):
        offboarding.off_board(people.owner, leaver, heir=people.owner, token_hours=9999)
    assert Grant.objects.filter(member=leaver).exists()
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    with pytest.raises(Conflict):
        offboarding.off_board(people.owner, leaver, heir=people.owner)


def test_the_last_owner_is_never_off_boarded(people: Any) -> None:
    second = grant(make_member("second@example.com"), Role.OWNER)
    Grant.objects.filter(member=second).update(expires_at="2040-01-01T00:00Z")
    with pytest.raises(Conflict):
        offboarding.off_board(second, people.owner, heir=second)
    people.owner.refresh_from_db()
    assert people.owner.is_active


def test_the_api_shows_the_plan_and_carries_it_out(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    show(leaver, make_key(vendor, place, people.owner, name="seen"))
    path = f"members/{leaver.pk}/offboard"
    owner = Api(people.owner)
    plan = owner.get(path).json
    assert [one["key"]["name"].endswith("seen") for one in plan["exposures"]] == [True]
    assert owner.post(path, {"heir": people.developer.pk}).status == 200
    assert owner.post(path).status == 409
    assert Api(people.viewer).get(path).status == 404
    stale = Api()
    sign_in(stale.client, people.owner, proved=False)
    assert stale.post(path).code == "proof_required"


def test_the_command_shows_first_and_does_it_with_yes(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    show(leaver, make_key(vendor, place, people.owner, name="seen"))
    ran = call("offboardmember", "leaver@example.com", "--by", "owner@example.com")
    assert "rotate" in ran.out
    assert "Nothing was changed" in ran.out
    assert Member.objects.get(pk=leaver.pk).is_active
    ran = call(
        "offboardmember", "leaver@example.com", "--by", "owner@example.com", "--yes", "--json"
    )
    assert ran.json["campaign"] == Campaign.objects.get().pk
    assert not Member.objects.get(pk=leaver.pk).is_active


def test_the_page_asks_for_the_address_and_then_does_it(people: Any, leaver: Member) -> None:
    client = sign_in(Client(), people.owner)
    page = client.get(f"/people/{leaver.pk}/")
    assert "Off-board leaver" in page.content.decode()
    form = {"leave-heir": people.owner.pk, "leave-token_hours": "0", "leave-email": "wrong@x.yz"}
    refused = client.post(f"/people/{leaver.pk}/leave", form)
    assert "not their address" in refused.content.decode()
    client.post(f"/people/{leaver.pk}/leave", {**form, "leave-email": "Leaver@example.com"})
    assert Member.objects.get(pk=leaver.pk).left_at
    assert Invitation.objects.count() == 0
    assert sign_in(Client(), people.viewer).get("/people/").status_code == 403
    assert roles.owners().get() == people.owner
