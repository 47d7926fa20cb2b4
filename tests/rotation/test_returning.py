"""Somebody comes back: the same person, and nothing of what they could reach or had agreed before."""

import threading
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import connection, connections, transaction
from django.test import Client

from keyvault import hooks
from keyvault.access import approvals
from keyvault.access.approvals import NeedsApproval
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import Conflict, Denied
from keyvault.models import Approval, Grant, Group, Member, Role
from keyvault.models.approvals import ApprovalAction
from rotation.campaigns import offboarding, reinstatement
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Notification, Reason, Rotation
from rotation.models.campaigns import Campaign
from rotation.notifications import triggers
from rotation.scheduling import calendar
from rotation.tasks import tick
from tests.api_client import Api, sign_in
from tests.factories import PASSWORD, grant, make_key, make_member, secret_of, show
from tests.rotation.driving import drive


@pytest.fixture
def leaver(people: Any) -> Member:
    return grant(make_member("leaver@example.com"), Role.OWNER)


def by_directory(member: Member, owner: Member) -> None:
    from keyvault.access.scim import directory

    directory.change(member.pk, lambda person: person.model_copy(update={"active": False}))


def by_off_boarding(member: Member, owner: Member) -> None:
    offboarding.off_board(owner, member, heir=owner)


def by_hand(member: Member, owner: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE keyvault_member SET is_active = false WHERE id = %s", [member.pk])


DOORS = pytest.mark.parametrize("leave", [by_directory, by_off_boarding, by_hand])


def ask(member: Member) -> Approval:
    with pytest.raises(NeedsApproval) as caught:
        approvals.require(
            member, approvals.Asked(ApprovalAction.WEBHOOK, "Set it", {"to": "x"}, always=True)
        )
    return Approval.objects.get(pk=caught.value.details["approvals"][0])


@DOORS
def test_what_a_leaver_asked_for_lapses_whatever_way_they_leave(
    people: Any, leaver: Member, leave: Any
) -> None:
    """F17: nobody agrees to it any more, at once and after the next tick, and not when they return."""
    request = ask(leaver)
    leave(leaver, people.owner)
    for _ in range(2):
        seen = approvals.get_approval(people.owner, request.pk)
        assert not approvals.may_decide(people.owner, seen)
        with pytest.raises(Conflict, match="not a member any more"):
            approvals.decide(people.owner, seen, granted=True)
        page = sign_in(Client(), people.owner).get("/approvals/").content.decode()
        assert "Lapsed" in page
        assert ">Agree<" not in page
        tick()
    request.refresh_from_db()
    assert (request.granted, bool(request.lapsed_at)) == (False, True)
    assert "leaver" in request.lapsed_why
    reinstatement.let_come_back(people.owner, leaver)
    with pytest.raises(Conflict):
        approvals.decide(
            people.owner, approvals.get_approval(people.owner, request.pk), granted=True
        )
    assert AuditEvent.objects.filter(action="approval.lapsed").count() == 1


@DOORS
def test_what_a_leaver_agreed_to_counts_no_more_though_they_come_back(
    people: Any, leaver: Member, leave: Any
) -> None:
    """F17: the agreement ends with the membership, not only while it is away."""
    request = ask(people.owner)
    approvals.decide(leaver, request, granted=True)
    leave(leaver, people.owner)
    tick()
    reinstatement.let_come_back(people.owner, leaver)
    anew = ask(people.owner)
    assert anew.pk != request.pk
    told = Api(people.owner).get(f"approvals/{request.pk}/").json
    assert told["lapsed_at"]
    assert "agreed to it, left" in told["lapsed_why"]


def test_an_agreement_waits_for_an_off_boarding_that_is_under_way_and_finds_nobody(
    people: Any, leaver: Member
) -> None:
    """F17, the race: the leaver's row is changed and not committed while somebody agrees."""
    request = ask(leaver)
    outcomes: list[str] = []

    def agree() -> None:
        try:
            approvals.decide(people.owner, request, granted=True)
            outcomes.append("agreed")
        except Conflict:
            outcomes.append("lapsed")
        connections.close_all()

    other = threading.Thread(target=agree)
    with transaction.atomic():
        offboarding.off_board(people.owner, leaver, heir=people.owner)
        other.start()
        other.join(0.5)
    other.join()
    assert outcomes == ["lapsed"]


@pytest.mark.parametrize("who", ["asker", "approver"])
def test_who_left_at_this_moment_neither_gets_nor_gives_an_agreement(
    people: Any, leaver: Member, who: str
) -> None:
    """F17: what the page had read a moment before is not what counts."""
    asker, approver = (leaver, people.owner) if who == "asker" else (people.owner, leaver)
    request = ask(asker)
    assert request.asked_by.is_active
    by_hand(leaver, people.owner)
    with pytest.raises((Conflict, Denied)):
        approvals.decide(approver, request, granted=True)
    request.refresh_from_db()
    assert request.granted is None


def sign_ons(member: Member) -> None:
    """Give the person all by which somebody gets in, and more rights than a role."""
    Authenticator.objects.create(user=member, type="recovery_codes", data={})
    SocialAccount.objects.create(user=member, provider="openid_connect", uid="abc")
    Member.objects.filter(pk=member.pk).update(is_staff=True, is_superuser=True)
    group = Group.objects.create(name="Night shift")
    group.members.add(member)
    Grant.objects.create(group=group, role=Role.OPERATOR)


@DOORS
def test_an_owner_lets_somebody_come_back_as_the_same_person_with_nothing(
    vendor: Any, place: Any, people: Any, leaver: Member, leave: Any
) -> None:
    """F17, B28: the address is not burnt, the history stays, and only the new link opens a door."""
    key = make_key(vendor, place, people.owner)
    show(leaver, key)
    sign_ons(leaver)
    feed = calendar.renew_feed(leaver).reveal().rsplit("/", 1)[1].removesuffix(".ics")
    browser = sign_in(Client(), leaver)
    leave(leaver, people.owner)
    answer = Api(people.owner).post(f"members/{leaver.pk}/return")
    assert answer.status == 201
    back = Member.objects.get(email="leaver@example.com")
    assert back.pk == leaver.pk
    assert (back.is_active, back.left_at, bool(back.returned_at)) == (True, None, True)
    assert (back.is_staff, back.is_superuser, back.has_usable_password()) == (False, False, False)
    assert not Grant.objects.filter(member=back).exists()
    assert not Group.objects.filter(members=back).exists()
    assert not Authenticator.objects.filter(user=back).exists()
    assert not SocialAccount.objects.filter(user=back).exists()
    assert browser.get("/keys/").status_code == 302
    assert Client().get(f"/calendar/feed/{feed}.ics").status_code == 404
    assert not Client().login(email="leaver@example.com", password=PASSWORD)
    assert Campaign.objects.count() == 1, "what they knew is rotated all the same"
    assert AuditEvent.objects.filter(action="secret.revealed", actor_id=str(back.pk)).exists()
    code = answer.json["link"].rsplit("#", 1)[1]
    from keyvault.access.invitations import accept_invitation

    assert accept_invitation(code, "five words that have nothing in common").pk == leaver.pk
    tick()
    back.refresh_from_db()
    assert back.left_at is None, "nobody off-boards them again"
    offboarding.off_board(people.owner, back, heir=people.owner)


def test_a_standby_that_they_brought_in_before_they_left_stays_unused(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    """B28: what somebody knew while they were away is used no more than before."""
    key = make_key(vendor, place, people.owner)
    made = vendor.create_key(place.vendor_api["id"])
    manual_keys.add_standby(leaver, key, made["key"])
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    reinstatement.let_come_back(people.owner, leaver)
    rotation, _ = lifecycle.start(people.owner, key, Reason.LEAK)
    drive(rotation)
    assert Rotation.objects.get(pk=rotation.pk).step == "done"
    key.refresh_from_db()
    assert secret_of(key.current) != made["key"]


def test_only_an_owner_lets_somebody_back_and_only_who_left(people: Any, leaver: Member) -> None:
    with pytest.raises(Conflict, match="member already"):
        reinstatement.let_come_back(people.owner, leaver)
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    for who in (people.operator, people.viewer, people.auditor):
        with pytest.raises(Denied):
            reinstatement.let_come_back(who, leaver)
    assert Api(people.operator).post(f"members/{leaver.pk}/return").status == 404
    stale = Api()
    sign_in(stale.client, people.owner, proved=False)
    assert stale.post(f"members/{leaver.pk}/return").code == "proof_required"
    assert not Member.objects.get(pk=leaver.pk).is_active


def test_a_directory_that_wants_somebody_back_is_refused_and_the_owners_are_told(
    people: Any, leaver: Member
) -> None:
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    for _ in range(2):
        error = hooks.refuse_return(leaver, "the directory")
    assert (error.status, error.code) == (409, "left")
    assert "an owner lets them come back" in error.message
    task = HumanTask.objects.get()
    triggers.scan()
    assert Notification.objects.get(task=task).messages.filter(member=people.owner).exists()
    reinstatement.let_come_back(people.owner, leaver)
    task.refresh_from_db()
    assert task.closed_by is None
    assert task.closed_at


def test_the_page_lets_somebody_back_and_shows_the_link_once(people: Any, leaver: Member) -> None:
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    client = sign_in(Client(), people.owner)
    assert "Let them come back" in client.get(f"/people/{leaver.pk}/").content.decode()
    answer = client.post(f"/people/{leaver.pk}/return", follow=True)
    assert "/join#kvi_" in answer.content.decode()
    page = client.get(f"/people/{leaver.pk}/").content.decode()
    assert "came back" in page
    assert "Let them come back" not in page
