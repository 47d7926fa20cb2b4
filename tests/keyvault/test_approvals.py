"""Second persons: what is agreed to is what is done, once, by who asked, and by nobody alone."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connections, transaction
from django.test import Client

from keyvault.access import approvals
from keyvault.access.approvals import NeedsApproval
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.delivery import tokens
from keyvault.inventory import accounts
from keyvault.models import Approval, Member, Role, ServiceToken
from keyvault.models.approvals import ApprovalAction
from rotation.consumers import registry
from rotation.engine import lifecycle
from rotation.human_tasks import close_review, visible_tasks
from rotation.models import HumanTask, Reason, Rotation
from tests import leakscan
from tests.api_client import Api, sign_in
from tests.factories import PASSWORD, grant, make_key, make_member, secret_of, show


@pytest.fixture
def second(people: Any) -> Member:
    return grant(make_member("second@example.com"), Role.OWNER)


@pytest.fixture
def secret_key(vendor: Any, place: Any, people: Any) -> Any:
    """Return a key of production."""
    return make_key(vendor, place, people.owner, environment=place.production)


def agree(by: Member, error: NeedsApproval, *, granted: bool = True) -> Approval:
    approval = Approval.objects.get(pk=error.details["approvals"][0])
    approvals.decide(by, approval, granted=granted)
    return approval


def asked(act: Any) -> NeedsApproval:
    with pytest.raises(NeedsApproval) as caught:
        act()
    return caught.value


def test_a_production_secret_needs_a_second_person_and_is_shown_once(
    people: Any, second: Member, secret_key: Any
) -> None:
    error = asked(lambda: show(people.owner, secret_key, "paging at night"))
    assert not AuditEvent.objects.filter(action="secret.revealed", outcome="ok").exists()
    agree(second, error)
    shown = show(people.owner, secret_key, "paging at night")
    assert shown.reveal() == secret_of(secret_key.current)
    asked(lambda: show(people.owner, secret_key, "paging at night"))
    used = AuditEvent.objects.get(action="approval.used")
    assert "second" in used.payload


def test_nobody_agrees_to_their_own_request_by_any_way(
    people: Any, second: Member, secret_key: Any
) -> None:
    """T:self_approval_refused: at the door, in the API, and in the database itself."""
    error = asked(lambda: show(people.owner, secret_key))
    approval = Approval.objects.get()
    with pytest.raises(Denied):
        approvals.decide(people.owner, approval, granted=True)
    path = f"approvals/{approval.pk}/decide"
    assert Api(people.owner).post(path, {"granted": True}).status == 403
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.update(decided_by=people.owner, granted=True)
    assert error.details["approvals"][0] == approval.pk
    assert approvals.may_decide(second, approval)


def test_what_changed_after_the_agreement_is_not_covered_by_it(
    vendor: Any, place: Any, people: Any, second: Member, secret_key: Any
) -> None:
    """T:approval_params_changed: another reason, key, version or person asks anew."""
    agree(second, asked(lambda: show(people.owner, secret_key, "the agreed reason")))
    other = make_key(vendor, place, people.owner, environment=place.production)
    third = grant(make_member("third@example.com"), Role.OWNER)
    asked(lambda: show(people.owner, secret_key, "another reason"))
    asked(lambda: show(people.owner, other, "the agreed reason"))
    asked(lambda: show(third, secret_key, "the agreed reason"))
    assert show(people.owner, secret_key, "the agreed reason")


def test_the_agreement_of_somebody_who_left_opens_nothing(
    people: Any, second: Member, secret_key: Any
) -> None:
    """AN-8: what a leaver agreed to ends with their membership."""
    agree(second, asked(lambda: show(people.owner, secret_key)))
    Member.objects.filter(pk=second.pk).update(is_active=False)
    asked(lambda: show(people.owner, secret_key))


def test_an_agreement_ends_and_a_request_too(people: Any, second: Member, secret_key: Any) -> None:
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        agree(second, asked(lambda: show(people.owner, secret_key)))
        clock.move_to(start + timedelta(minutes=61))
        error = asked(lambda: show(people.owner, secret_key))
        clock.move_to(start + timedelta(hours=26))
        with pytest.raises(Conflict):
            agree(second, error)
        again = asked(lambda: show(people.owner, secret_key))
        assert again.details["approvals"] != error.details["approvals"]


def test_a_refused_request_opens_nothing(people: Any, second: Member, secret_key: Any) -> None:
    error = asked(lambda: show(people.owner, secret_key))
    agree(second, error, granted=False)
    asked(lambda: show(people.owner, secret_key))
    with pytest.raises(Conflict):
        agree(second, error)


def test_asking_twice_is_one_request_and_an_agreement_serves_one_of_two_at_once(
    people: Any, second: Member, secret_key: Any
) -> None:
    first = asked(lambda: show(people.owner, secret_key))
    assert asked(lambda: show(people.owner, secret_key)).details == first.details
    agree(second, first)
    outcomes: list[str] = []

    def reveal() -> None:
        try:
            show(people.owner, secret_key)
            outcomes.append("shown")
        except NeedsApproval:
            outcomes.append("asked")
        connections.close_all()

    threads = [threading.Thread(target=reveal) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert outcomes.count("shown") == 1


def test_a_role_lost_since_counts_for_asker_and_approver(
    people: Any, second: Member, secret_key: Any
) -> None:
    """B68: an approver who lost the role approves nothing; an asker who did does nothing."""
    error = asked(lambda: show(people.owner, secret_key))
    second.grants.all().delete()
    with pytest.raises(Denied):
        agree(second, error)
    grant(second, Role.OWNER)
    agree(second, error)
    people.owner.grants.all().delete()
    with pytest.raises(Denied):
        show(people.owner, secret_key)


def test_who_may_not_know_of_it_finds_no_request(people: Any, secret_key: Any) -> None:
    error = asked(lambda: show(people.owner, secret_key))
    with pytest.raises(NotFound):
        approvals.get_approval(people.outsider, error.details["approvals"][0])
    assert Api(people.outsider).get(f"approvals/{error.details['approvals'][0]}/").status == 404


def test_each_act_under_a_rule_asks_before_anything_is_done(
    vendor: Any, place: Any, people: Any, second: Member
) -> None:
    key = make_key(vendor, place, people.owner)
    here = (place.application, place.environment)
    owner = people.owner
    for one in set(ApprovalAction) - {ApprovalAction.RULE, ApprovalAction.REVEAL}:
        approvals.add_rule(owner, one)
    client = sign_in(Client(), owner)
    acts: list[Callable[[], Any]] = [
        lambda: lifecycle.start(owner, key),
        lambda: tokens.issue(owner, "app", *here),
        lambda: registry.add_consumer(owner, "web", *here, webhook_url="https://x.example/"),
        lambda: accounts.add_account(
            owner, name="N", provider="influtics", base_url="https://x.example"
        ),
    ]
    for act in acts:
        agree(second, asked(act), granted=False)
    assert client.post("/audit/export", {"format": "csv"}).status_code == 409
    assert not Rotation.objects.exists()
    assert not ServiceToken.objects.exists()
    rotation, new = lifecycle.start(owner, key, Reason.LEAK)
    assert new, "a leak waits for nobody"
    asked(lambda: lifecycle.waive(owner, rotation, "I know that it is unused"))
    assert Rotation.objects.get().waived_at is None


def test_an_agreed_act_goes_through_once(place: Any, people: Any, second: Member) -> None:
    approvals.add_rule(people.owner, ApprovalAction.TOKEN, place.environment)
    issue = lambda: tokens.issue(people.owner, "a", place.application, place.environment)  # noqa: E731
    agree(second, asked(issue))
    token, _ = issue()
    assert token.pk
    assert tokens.issue(people.owner, "b", place.application, place.production)


def test_an_act_that_needs_two_agreements_uses_neither_before_both_are_there(
    place: Any, people: Any, second: Member
) -> None:
    """A consumer with a webhook needs one for its token and one for the address."""
    for one in (ApprovalAction.TOKEN, ApprovalAction.WEBHOOK):
        approvals.add_rule(people.owner, one)

    def add() -> Any:
        where = (place.application, place.environment)
        return registry.add_consumer(people.owner, "web", *where, webhook_url="https://x.example/")

    token, webhook = asked(add).details["approvals"]
    approvals.decide(second, Approval.objects.get(pk=token), granted=True)
    assert asked(add).details["approvals"] == [webhook]
    approvals.decide(second, Approval.objects.get(pk=webhook), granted=True)
    assert add().consumer.webhook_url == "https://x.example/"
    assert not Approval.objects.filter(used_at=None).exists()


def test_a_token_is_held_to_its_end_and_its_networks(
    place: Any, people: Any, second: Member
) -> None:
    """Agreed to for one network and a day, and then asked for from anywhere and for good."""
    approvals.add_rule(people.owner, ApprovalAction.TOKEN)
    where = (place.application, place.environment)
    ends = datetime.now(UTC) + timedelta(days=1)
    narrow = lambda: tokens.issue(people.owner, "a", *where, ends, ["10.0.0.0/8"])  # noqa: E731
    agree(second, asked(narrow))
    asked(lambda: tokens.issue(people.owner, "a", *where))
    asked(lambda: tokens.issue(people.owner, "a", *where, ends, ["0.0.0.0/0"]))
    assert narrow()[0].networks == ["10.0.0.0/8"]


def test_a_rule_is_taken_back_by_two(people: Any, second: Member) -> None:
    """A rogue owner does not simply remove the rule first."""
    rule = approvals.add_rule(people.owner, ApprovalAction.EXPORT)
    error = asked(lambda: approvals.remove_rule(people.owner, rule))
    agree(second, error)
    approvals.remove_rule(people.owner, rule)
    with pytest.raises(Denied):
        approvals.add_rule(people.developer, ApprovalAction.EXPORT)
    with pytest.raises(BadInput):
        approvals.add_rule(people.owner, ApprovalAction.RULE)


def test_break_glass_opens_at_once_and_tells_everybody(
    people: Any, second: Member, secret_key: Any, place: Any
) -> None:
    """AN: alone, immediately, on record, and somebody else must look at it."""
    why = "everything is down and nobody answers the phone"
    shown = show(people.owner, secret_key, why, break_glass=True)
    assert shown.reveal() == secret_of(secret_key.current)
    row = AuditEvent.objects.get(action="secret.revealed")
    assert '"break_glass":true' in row.payload.replace(" ", "")
    task = HumanTask.objects.get()
    for member in (people.owner, second, people.viewer, people.operator):
        assert task in visible_tasks(member)
    with pytest.raises(Denied):
        close_review(people.owner, task, "it was all right")
    assert Api(people.owner).post(f"tasks/{task.pk}/complete", {"reason": "fine"}).status == 403
    answer = Api(second).post(f"tasks/{task.pk}/complete", {"reason": "it was the outage"})
    assert answer.status == 200, answer.text
    task.refresh_from_db()
    assert task.closed_by == second


def test_an_hours_budget_of_reveals_and_a_burst_is_told_once(
    vendor: Any, place: Any, people: Any, settings: Any
) -> None:
    """TM-28."""
    settings.REVEALS_PER_HOUR = 7
    key = make_key(vendor, place, people.owner)
    for _ in range(7):
        show(people.developer, key)
    with pytest.raises(Denied) as caught:
        show(people.developer, key)
    assert caught.value.code == "reveal_budget"
    assert show(people.owner, key)
    assert HumanTask.objects.filter(kind="review").count() == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=61)):
        assert show(people.developer, key)


def test_a_stale_proof_asks_for_the_password_and_then_goes_on(
    vendor: Any, place: Any, people: Any
) -> None:
    """AN-10: the reveal that was begun is finished by the answer to the password."""
    key = make_key(vendor, place, people.owner)
    client = sign_in(Client(), people.developer, proved=False)
    form = {"reveal-reason": "debugging the job"}
    answer = client.post(f"/keys/{key.pk}/reveal", form)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/reauthenticate/")
    wrong = client.post(answer["Location"], {"password": "not this one"})
    assert secret_of(key.current) not in wrong.content.decode()
    page = client.post(answer["Location"], {"password": PASSWORD})
    assert secret_of(key.current) in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        assert client.post(f"/keys/{key.pk}/reveal", form).status_code == 302
    api = Api()
    sign_in(api.client, people.developer, proved=False)
    refused = api.post(f"keys/{key.pk}/reveal", {"reason": "debugging the job"})
    assert (refused.status, refused.code) == (403, "proof_required")


def test_two_people_in_two_browsers(people: Any, second: Member, secret_key: Any) -> None:
    one, two = sign_in(Client(), people.owner), sign_in(Client(), second)
    reason = "<b>needed</b> for the migration"
    answer = one.post(f"/keys/{secret_key.pk}/reveal", {"reveal-reason": reason}, follow=True)
    assert "Waits" in answer.content.decode()
    page = two.get("/approvals/").content.decode()
    assert "&lt;b&gt;needed&lt;/b&gt;" in page
    number = Approval.objects.get().pk
    two.post(f"/approvals/{number}/decide", {"granted": "yes"})
    page = one.get("/approvals/").content.decode()
    assert "Reveal it now" in page
    answer = one.post(f"/keys/{secret_key.pk}/reveal", {"reveal-reason": reason})
    assert secret_of(secret_key.current) in answer.content.decode()


def test_approvals_leak_nothing(stack: Any, people: Any, second: Member, secret_key: Any) -> None:
    agree(second, asked(lambda: show(people.owner, secret_key)))
    shown = show(people.owner, secret_key)
    text = [sign_in(Client(), second).get("/approvals/").content.decode()]
    assert leakscan.hits(stack, [shown.reveal()], text) == []
