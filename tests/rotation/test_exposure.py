"""What somebody who leaves could still know: nothing is missed, whatever happens at the same time."""

import threading
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keyvault.access import exposure, roles
from keyvault.access.permissions import lock_member
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import Conflict, Denied
from keyvault.delivery import tokens
from keyvault.delivery.tokens import TokenRefused
from keyvault.inventory import keys
from keyvault.models import (
    ApiKey,
    Grant,
    Member,
    Role,
    SecretDisclosure,
    ServiceToken,
    TokenDisclosure,
    VersionState,
)
from rotation.campaigns import offboarding, service
from rotation.engine import lifecycle, manual_keys
from rotation.models import Reason, Rotation, Step
from rotation.models.campaigns import Campaign
from rotation.tasks import tick
from tests.api_client import Api
from tests.factories import grant, make_key, make_member, secret_of, show
from tests.rotation.driving import drive
from tests.waiting import until


@pytest.fixture
def leaver(people: Any, place: Any) -> Member:
    return grant(make_member("leaver@example.com"), Role.OWNER, application=place.application)


def ways(member: Member) -> dict[str, list[str]]:
    return {one.key.name: one.how for one in exposure.to_person(member)}


def test_a_token_that_ended_after_the_secret_was_published_still_counts(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    """B69: whoever held a token yesterday may have fetched what is still in force today."""
    key = make_key(vendor, place, people.owner, name="read by cron")
    token, _ = tokens.issue(leaver, "cron", place.application, place.environment)
    tokens.revoke(leaver, token)
    assert list(ways(leaver)) == ["read by cron"]
    rotation, _ = lifecycle.start(people.owner, key, Reason.LEAK)
    drive(rotation)
    assert ways(leaver) == {}, "its present secret came after the token's end"


def test_only_who_was_shown_a_text_is_exposed_and_only_while_it_opened(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    token, _ = tokens.issue(leaver, "cron", place.application, place.environment)
    tokens.renew(people.owner, token, overlap_seconds=0)
    make_key(vendor, place, people.operator, name="later")
    assert ways(leaver) == {}
    assert list(ways(people.owner)) == ["later"]
    tokens.renew(people.owner, token, overlap_seconds=600)
    tokens.renew(people.owner, token, overlap_seconds=600)
    ended = TokenDisclosure.objects.filter(ends_at__lte=timezone.now()).count()
    assert (ended, TokenDisclosure.objects.count()) == (1, 4), "each has an end of its own"


def test_of_a_renewed_token_the_leaver_loses_the_former_text_and_the_program_keeps_its_own(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    token, old = tokens.issue(leaver, "cron", place.application, place.environment)
    new = tokens.renew(people.owner, token, overlap_seconds=86400)
    assert tokens.check(old.reveal()) == token
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    with pytest.raises(TokenRefused):
        tokens.check(old.reveal())
    assert tokens.check(new.reveal()) == token


def test_each_token_that_ends_is_on_record(people: Any, place: Any, leaver: Member) -> None:
    for name in ("one", "two"):
        tokens.issue(leaver, name, place.application, place.environment)
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    assert AuditEvent.objects.filter(action="token.revoked").count() == 2
    assert not ServiceToken.objects.filter(revoked_at=None).exists()


def test_what_was_brought_into_a_running_rotation_is_rotated_once_it_is_in_force(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner, manual=True)
    rotation, _ = lifecycle.start(leaver, key, Reason.MANUAL)
    drive(rotation)
    made = vendor.create_key(place.vendor_manual["id"])
    manual_keys.paste_for(leaver, Rotation.objects.get(), made["key"])
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    item = Campaign.objects.get().items.get()
    assert item.exposed is not None
    assert item.exposed.state == VersionState.PENDING
    assert secret_of(item.exposed) == made["key"]
    assert Rotation.objects.get().requested_by == people.owner, "or its preflight would give up"
    assert service.work() == 0
    assert service.report(Campaign.objects.get())[0].state == "waiting"


def test_an_item_joins_the_rotation_that_replaces_its_secret_already(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner)
    show(leaver, key)
    rotation, _ = lifecycle.start(people.operator, key, Reason.MANUAL)
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    assert service.work() == 0
    assert Campaign.objects.get().items.get().rotation == rotation


def test_a_campaign_goes_on_when_whoever_started_it_has_left(
    vendor: Any, place: Any, people: Any
) -> None:
    starter = grant(make_member("starter@example.com"), Role.OWNER)
    key = make_key(vendor, place, people.owner)
    service.start(starter, "An incident", Reason.INCIDENT, service.secrets_of(_all()))
    offboarding.off_board(people.owner, starter, heir=people.owner)
    assert service.work() == 1
    drive(Rotation.objects.get())
    assert Rotation.objects.get().step == Step.DONE
    key.refresh_from_db()
    assert key.current
    assert key.current.number == 2


def _all() -> Any:
    return ApiKey.objects.all()


def test_the_last_owner_who_was_deactivated_behind_our_back_stops_nothing(
    vendor: Any, place: Any, people: Any
) -> None:
    show(people.owner, make_key(vendor, place, people.owner))
    Member.objects.filter(pk=people.owner.pk).update(is_active=False)
    assert offboarding.finish_leavers() == 1
    people.owner.refresh_from_db()
    assert people.owner.left_at
    tick()
    assert Rotation.objects.get().reason == Reason.LEAVER


def test_two_owners_who_off_board_each_other_leave_one(people: Any) -> None:
    """AN-8: a thread each, started together; ten rounds."""
    for number in range(10):
        one, two = (
            grant(make_member(f"owner{number}{letter}@example.com"), Role.OWNER) for letter in "ab"
        )
        Grant.objects.exclude(member__in=[one, two]).delete()
        _both(lambda a=one, b=two: _off(a, b), lambda a=one, b=two: _off(b, a))
        assert roles.owners().count() == 1


def _off(by: Member, member: Member) -> None:
    with suppress(Conflict, Denied):
        offboarding.off_board(by, member, heir=by)


def _both(*acts: Any) -> None:
    gate = threading.Barrier(len(acts))

    def run(act: Any) -> None:
        gate.wait()
        try:
            act()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


@pytest.mark.parametrize("act", ["reveal", "token", "renewal", "register", "standby"])
def test_what_is_in_flight_while_somebody_is_off_boarded_is_refused(
    vendor: Any, place: Any, people: Any, leaver: Member, act: str
) -> None:
    """TM-19: the right was asked before, and the row comes after: nothing slips between."""
    key = make_key(vendor, place, people.owner)
    token, _ = tokens.issue(people.owner, "cron", place.application, place.environment)
    stored = vendor.create_key(place.vendor_manual["id"])["key"]
    new = keys.NewKey(place.manual_account, place.environment, "own", member=leaver)
    acts: dict[str, Any] = {
        "reveal": lambda: show(leaver, key),
        "token": lambda: tokens.make(leaver, "x", place.application, place.environment),
        "renewal": lambda: tokens.renew(leaver, token),
        "register": lambda: keys.register_key(leaver, new, stored),
        "standby": lambda: manual_keys.add_standby(leaver, key, _fresh(vendor, place)),
    }
    said: list[BaseException] = []

    def late() -> None:
        try:
            acts[act]()
        except Denied as error:
            said.append(error)
        finally:
            connections.close_all()

    with transaction.atomic():
        Member.objects.filter(pk=leaver.pk).update(is_active=False, left_at=timezone.now())
        thread = threading.Thread(target=late)
        thread.start()
        until(_somebody_waits, what="the act to wait for the person's row")
    thread.join(20)
    assert "not a member any more" in str(said[0])
    assert not SecretDisclosure.objects.exists()
    assert TokenDisclosure.objects.filter(member=leaver).count() == 0
    assert ApiKey.objects.count() == 1
    assert key.versions.count() == 1


def _fresh(vendor: Any, place: Any) -> str:
    return str(vendor.create_key(place.vendor_api["id"])["key"])


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_holding_waits_for_no_one_else(people: Any) -> None:
    with transaction.atomic():
        lock_member(people.owner)
        lock_member(people.viewer)


def test_the_statements_do_not_grow_with_what_is_exposed(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    counted = []
    for number in range(2):
        for part in range(1 + number * 3):
            show(leaver, make_key(vendor, place, people.owner, name=f"key {number} {part}"))
            tokens.issue(leaver, f"t {number} {part}", place.application, place.environment)
        with CaptureQueriesContext(connection) as queries:
            assert len(exposure.to_person(leaver)) == (1, 5)[number]
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 6


def test_what_an_application_could_read_since_a_day_is_one_campaign(
    vendor: Any, place: Any, people: Any
) -> None:
    read = make_key(vendor, place, people.owner, name="read")
    make_key(vendor, place, people.owner, name="far", environment=place.production)
    token, _ = tokens.issue(people.owner, "cron", place.application, place.environment)
    app, now = place.application.pk, timezone.now()
    start = {"title": "A break-in", "reason": "incident", "readable_by": app}
    owner = Api(people.owner)
    tokens.revoke(people.owner, token)
    after = (now + timedelta(hours=1)).isoformat()
    assert owner.post("campaigns/", {**start, "since": after}).status == 400, "ended before"
    told = owner.post("campaigns/", {**start, "since": (now - timedelta(days=3)).isoformat()})
    assert [one["key"] for one in told.json["keys"]] == [read.pk]
    both = owner.post("campaigns/", {**start, "person": people.viewer.pk})
    assert "in one way" in both.text


def test_until_now_is_taken_over_from_the_audit_log(
    vendor: Any, place: Any, people: Any, leaver: Member
) -> None:
    key = make_key(vendor, place, people.owner)
    show(leaver, key)
    token, _ = tokens.issue(leaver, "cron", place.application, place.environment)
    tokens.renew(people.owner, token, overlap_seconds=60)
    kept = _rows()
    SecretDisclosure.objects.all().delete()
    TokenDisclosure.objects.all().delete()
    module = import_module("keyvault.migrations.0006_disclosures_until_now")
    with connections["owner"].cursor() as cursor:
        for statement in (module.SMALL_LETTERS, module.REVEALS, module.TEXTS):
            cursor.execute(statement)
    assert _rows() == kept


def _rows() -> list[Any]:
    texts = TokenDisclosure.objects.order_by("shown_at")
    return [
        list(SecretDisclosure.objects.values_list("member", "version")),
        [(one.token_id, one.member_id, one.ends_at is None) for one in texts],
    ]
