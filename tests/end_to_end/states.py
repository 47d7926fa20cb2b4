"""States that pages are seen in seldom: holds, retirements, copies, early ends, remarks, returns."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from keyvault.delivery import fetch, tokens
from keyvault.models import ApiKey, Application, Role
from rotation.campaigns import offboarding
from rotation.consumers import registry
from rotation.engine import holds, lifecycle, retirement
from rotation.models import FreezeCalendar, HumanTask, Rotation, Step, WaitingFor
from tests.api_client import broken_audit
from tests.factories import grant, make_key, make_member, secret_of
from tests.rotation.driving import drive, started, step

REMARKS = (
    "“Fair” cannot be read exactly: FREQ=MONTHLY;BYDAY=-1FR. Each day from its first on is frozen.\n"
    "“Daily stand-up of the platform team” comes many times a day: each day is frozen."
)
PASTE = (
    "INFLUTICS_API_KEY=ifk_live_0000000000000000000000000000000000000000\n"
    "SESSION_COOKIE_OF_AN_INTERNAL_TOOL=0f0e0d0c0b0a09080706050403020100\n"
)
UNFOLD = "document.querySelectorAll('details').forEach((one) => one.open = true)"


def rare_pages(vendor: Any, place: Any, people: Any) -> dict[str, str]:
    """Bring pages into their rare states and return the path of each by a name for it."""
    held = _between_copies(vendor, place, people)
    gone = _gone_early(vendor, place, people)
    asked, retired = _retiring(vendor, place, people)
    delete = HumanTask.objects.filter(kind="delete", closed_at=None).latest("pk")
    incident = HumanTask.objects.filter(rotation=gone, closed_at=None).latest("pk")
    leaver = grant(make_member("heidi@example.com"), Role.DEVELOPER)
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    FreezeCalendar.objects.create(
        name="Company holidays",
        host="calendar.example.com",
        path=uuid4(),
        next_read_at=timezone.now() + timedelta(hours=1),
        read_at=timezone.now(),
        remarks=REMARKS,
    )
    FreezeCalendar.objects.create(
        name="Trade fairs",
        host="fairs.example.com",
        path=uuid4(),
        next_read_at=timezone.now() + timedelta(hours=1),
        last_error="It answered with 503.",
    )
    return {
        "key-on-hold": f"/keys/{held.key_id}/",
        "key-retiring": f"/keys/{asked.key_id}/",
        "key-retired": f"/keys/{retired.key_id}/",
        "rotation-between-copies": f"/rotations/{held.pk}/",
        "rotation-gone-early": f"/rotations/{gone.pk}/",
        "rotation-retiring": f"/rotations/{asked.pk}/",
        "rotation-retired": f"/rotations/{retired.pk}/",
        "rotation-delete": f"/rotations/{delete.rotation_id}/",
        "task-delete": f"/tasks/{delete.pk}/",
        "task-incident": f"/tasks/{incident.pk}/",
        "calendar-with-remarks": "/calendar/",
        "person-left": f"/people/{leaver.pk}/",
        "people-left": "/people/",
    }


def answers(desk: Any, place: Any, people: Any) -> Iterator[str]:
    """Lead a browser to what only a form answers, yielding a name for each once it is shown."""
    page = desk.go("/keys/import/")
    page.locator("textarea").fill(PASTE)
    page.get_by_label("Account", exact=False).first.select_option(label="Sandbox")
    page.get_by_label("Environment", exact=False).first.select_option(label="Development")
    page.get_by_label("Application", exact=False).first.select_option(label="Mail merge")
    page.get_by_role("button", name="Show what would happen").click()
    page.locator("#fates table").wait_for()
    yield "import-looked"
    page = desk.go(f"/accounts/{place.api_account.pk}/")
    page.get_by_label("New management credential").fill("mgmt_0000000000000000")
    page.get_by_role("button", name="Replace", exact=True).click()
    page.locator("#problem, .errorlist").first.wait_for()
    yield "account-refused"
    page = desk.go(f"/keys/{ApiKey.objects.get(name='Mail merge: addresses').pk}/")
    page.evaluate(UNFOLD)
    page.get_by_label("Why do you need it?").fill("The deployment is done by hand.")
    page.get_by_role("button", name="Reveal").click()
    page.locator("#secret").wait_for()
    page.evaluate(UNFOLD)
    yield "secret-shown"
    page = desk.go("/calendar/")
    page.get_by_role("button", name="Make an address").or_(
        page.get_by_role("button", name="Make a new address")
    ).click()
    page.locator("#secret").wait_for()
    yield "feed-shown"
    cookies = page.context.cookies()
    with broken_audit():
        page.context.clear_cookies()
        desk.sign_in(people.viewer, people.password)
        yield "sign-in-unrecorded"
        desk.go("/keys/")
        yield "keys-unrecorded"
    page.context.clear_cookies()
    page.context.add_cookies(cookies)


def _application(place: Any, name: str) -> None:
    place.application = Application.objects.create(name=name)


def _between_copies(vendor: Any, place: Any, people: Any) -> Rotation:
    """Return a rotation of a key on hold, of which one of two copies has moved."""
    _application(place, "Render farm")
    key = make_key(vendor, place, people.owner, name="Render farm: thumbnails")
    added = registry.add_consumer(
        people.owner, "render workers", place.application, place.environment
    )
    registry.add_consumer(people.owner, "night job", place.application, place.environment)
    _, batch = tokens.issue(people.owner, "ad-hoc batch", place.application, place.environment)
    token = added.token.reveal()
    for copy in ("a", "b"):
        fetch.fetch(token, key.pk, instance=copy)
    fetch.fetch(batch.reveal(), key.pk)
    rotation = drive(started(people.owner, key), lambda one: one.verified_at is not None)
    shown = fetch.fetch(token, key.pk, instance="a")
    assert shown.secret is not None
    nonce, number = registry.nonce(token, key.pk)
    proof = registry.proof_of(shown.secret, nonce, key.pk, number)
    registry.acknowledge(token, key.pk, number, nonce, proof, "a")
    ends = timezone.now() + timedelta(days=40)
    holds.place(people.owner, key, "Evidence for the incident of last week is still taken.")
    holds.place(people.owner, key, "Yearly audit", ends)
    return step(rotation)


def _gone_early(vendor: Any, place: Any, people: Any) -> Rotation:
    """Return a rotation whose old key was ended by somebody else before the consumers moved."""
    _application(place, "Mail merge")
    key = make_key(vendor, place, people.owner, name="Mail merge: addresses")
    registry.add_consumer(people.owner, "mail-1", place.application, place.environment)
    rotation = drive(started(people.owner, key), lambda one: one.verified_at is not None)
    assert rotation.old_version is not None
    vendor.delete_key(vendor.lookup(secret_of(rotation.old_version))["id"])
    return step(drive(rotation, lambda one: one.old_gone_at is not None))


def _retiring(vendor: Any, place: Any, people: Any) -> tuple[Rotation, Rotation]:
    """Return a retirement that waits for a program, and one that has ended."""
    _application(place, "Old importer")
    why = "The importer was switched off last month."
    key = make_key(vendor, place, people.owner, name="Old importer: feed")
    registry.add_consumer(people.owner, "importer-1", place.application, place.environment)
    _, text = tokens.issue(people.owner, "nightly", place.application, place.environment)
    fetch.fetch(text.reveal(), key.pk)
    asked = retirement.retire(people.owner, key, why)
    drive(asked, lambda one: one.step == Step.VERIFY and bool(one.waiting_for))
    _application(place, "Forgotten tool")
    lone = make_key(vendor, place, people.owner, name="Forgotten tool: search")
    ended = retirement.retire(people.owner, lone, why)
    drive(ended, lambda one: one.step == Step.VERIFY and bool(one.waiting_for))
    Rotation.objects.filter(pk=ended.pk).update(quiet_seconds=1)
    manual = make_key(vendor, place, people.owner, manual=True, name="Forgotten tool: by hand")
    by_hand = retirement.retire(people.owner, manual, why)
    drive(by_hand, lambda one: one.waiting_for == WaitingFor.ADOPTION)
    lifecycle.waive(people.owner, by_hand, "I looked at every host.")
    drive(by_hand, lambda one: one.waiting_for == WaitingFor.DELETION)
    return step(asked), drive(ended)
