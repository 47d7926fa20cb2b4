"""Whole jobs in the browser, from the first click to what they are done for."""

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
from datetime import time, timedelta
from typing import Any

import pytest
from django.utils import timezone

from keyvault.access import approvals
from keyvault.models import ApiKey, Member, Role
from keyvault.models.approvals import ApprovalAction
from rotation.consumers import registry
from rotation.models import PolicyScope, Rotation, RotationPolicy, Step
from rotation.scheduling import policies
from rotation.scheduling.policies import Wish
from tests.api_client import Api
from tests.end_to_end.test_console import Desk, desk
from tests.factories import grant, lone_key, make_key, make_member, secret_of, show
from tests.guards import ROOT
from tests.oracle import assert_all_is_well
from tests.waiting import until

__all__ = ["desk"]


@pytest.fixture
def second(browser: Any, live_url: str) -> Any:
    """Return a second person's browser window, which shares nothing with the first."""
    context = browser.browser.new_context()
    other = Desk(context, live_url)
    yield other
    context.close()
    assert other.complaints == []


def test_first_run_leads_from_nothing_to_a_fetched_key(desk: Any, vendor: Any, database: None):
    owner = grant(make_member("first@example.com"), Role.OWNER)
    at_vendor = vendor.create_account("influtics")
    made = vendor.create_key(at_vendor["id"])
    desk.enter(owner)
    page = desk.go("/")
    form = page.locator("main")
    assert page.url.endswith("/start/")
    form.get_by_label("Name").fill("Influtics")
    form.get_by_label("API address").fill(vendor.url)
    page.get_by_role("button", name="Add").click()
    page.get_by_text("refuses a made-up key as it should").wait_for()
    form.get_by_label("Staging").uncheck()
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Added: Development, Production.").wait_for()
    form.get_by_label("Name").fill("Billing")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Billing was added.").wait_for()
    form.get_by_label("Name", exact=True).fill("Reports")
    form.get_by_label("Key", exact=True).fill(f"Bearer {made['key']}")
    page.get_by_role("button", name="Check and record").click()
    page.get_by_text("Recorded.").wait_for()
    page.get_by_role("button", name="Leave this out").click()
    form.get_by_label("Name").fill("eu-west-1")
    page.get_by_role("button", name="Add and show its token").click()
    env = page.locator("#env-file").inner_text()
    token = re.search(r"KEYVAULT_TOKEN=(\S+)", env)
    number = re.search(r"KEYVAULT_KEY_ID=(\d+)", env)
    assert token is not None
    assert number is not None
    fetched = Api(token=token[1]).get(f"keys/{number[1]}/secret")
    assert fetched.json["secret"] == made["key"]
    line = page.locator("#wrapper").inner_text()
    ran = subprocess.run(
        line.replace("python3 ", f"{sys.executable} {ROOT}/scripts/").replace(
            "YOUR-PROGRAM", "sh -c 'printf %s \"$INFLUTICS_API_KEY\" | sha256sum'"
        ),
        shell=True,
        env={
            "PATH": os.environ["PATH"],
            **dict(row.split("=", 1) for row in env.split()),
            "KEYVAULT_URL": desk.url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split()[0] == hashlib.sha256(made["key"].encode()).hexdigest(), ran.stderr
    assert not PolicyScope.objects.exists()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("heading", name="First steps").wait_for()
    assert page.locator(".state", has_text="Left out").count() == 1


def test_an_automatic_rotation_is_watched(desk: Any, vendor: Any, place: Any, people: Any, worker):
    key = make_key(vendor, place, people.owner, name="Video upload")
    policies.set_policy(people.owner, key, Wish(30, time(3), "UTC", 0, 1))
    old = secret_of(key.current)
    desk.enter(people.owner)
    page = desk.go(f"/keys/{key.pk}/")
    assert page.get_by_text("Rotating now").count() == 0
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(seconds=1))
    until(Rotation.objects.exists, 30, "the tick to start it")
    page.goto(f"{desk.url}/rotations/{Rotation.objects.get().pk}/")
    page.locator("#live[data-step=done]").wait_for(timeout=45_000)
    page.get_by_text("Schedule", exact=False).first.wait_for()
    assert vendor.use(old) == 401
    assert_all_is_well(vendor, place)


def test_many_keys_are_ticked_looked_at_and_rotated(
    desk: Any, vendor: Any, place: Any, people: Any, worker
):
    for number in range(3):
        lone_key(vendor, place, people.owner, name=f"bulk {number}")
    lone_key(vendor, place, people.owner, name="left alone")
    desk.enter(people.owner)
    page = desk.go("/keys/")
    page.get_by_label("Tick every key of this page").check()
    page.get_by_label("Tick left alone").uncheck()
    page.get_by_role("button", name="Rotate the ticked ones").click()
    page.get_by_text("This will rotate 3 keys").wait_for()
    page.get_by_label("Why").fill("Yearly renewal")
    page.get_by_role("button", name="Rotate 3 keys").click()
    page.wait_for_url("**/campaigns/*/")
    page.get_by_text("Closed").wait_for(timeout=60_000)
    assert Rotation.objects.filter(step=Step.DONE, reason="manual").count() == 3
    assert_all_is_well(vendor, place)


def test_a_secret_is_revealed_once_a_second_person_agreed(
    desk: Any, second: Any, vendor: Any, place: Any, people: Any
):
    key = make_key(vendor, place, people.owner, environment=place.production)
    approvals.add_rule(people.owner, ApprovalAction.REVEAL, place.production)
    asker = grant(make_member("asker@example.com"), Role.DEVELOPER)
    desk.enter(asker)
    page = desk.go(f"/keys/{key.pk}/")

    def ask():
        page.get_by_text("Reveal the secret").click()
        page.get_by_label("Why do you need it?").fill("The deployment is done by hand.")
        page.get_by_role("button", name="Reveal").click()

    ask()
    page.wait_for_url("**/approvals/")
    second.enter(people.owner)
    other = second.go("/approvals/")
    assert secret_of(key.current) not in other.content()
    other.get_by_role("button", name="Agree").click()
    other.get_by_text("agreed", exact=False).first.wait_for()
    desk.go(f"/keys/{key.pk}/")
    ask()
    page.locator("#secret").wait_for()
    assert page.locator("#secret").inner_text() == secret_of(key.current)
    assert secret_of(key.current) not in other.content()


def test_a_person_is_off_boarded_and_what_they_saw_rotates(
    desk: Any, vendor: Any, place: Any, people: Any, worker
):
    key = make_key(vendor, place, people.owner, name="Seen by Grace")
    grace = grant(make_member("grace@example.com"), Role.DEVELOPER)
    show(grace, key)
    old = secret_of(key.current)
    desk.enter(people.owner)
    page = desk.go(f"/people/{grace.pk}/")
    page.get_by_text("Seen by Grace").first.wait_for()
    leave(page, grace)
    page.get_by_text("settled; closed").wait_for(timeout=60_000)
    assert vendor.use(old) == 401
    assert not Member.objects.get(pk=grace.pk).is_active
    assert_all_is_well(vendor, place)


def leave(page: Any, member: Member) -> None:
    """Press what off-boards somebody, with what it asks for."""
    form = page.locator("form[action$='/leave']")
    if not form.is_visible():
        page.locator("details", has=form).locator("summary").click()
    form.locator("[name=leave-email]").fill(member.email)
    form.get_by_role("button").click()
    page.wait_for_url("**/campaigns/*/")


def test_who_saw_this_key_is_found_in_the_audit_log_and_exported(
    desk: Any, vendor: Any, place: Any, people: Any
):
    key = make_key(vendor, place, people.owner, name="Video upload")
    show(people.developer, key, reason="a look at the canary deployment")
    desk.enter(people.owner)
    page = desk.go("/audit/")
    page.locator("main").get_by_label("Act").select_option("secret.revealed")
    page.locator("main").get_by_label("Says").fill("canary deployment")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**action=secret.revealed**")
    row = page.locator("tbody tr")
    assert row.count() == 1
    assert str(people.developer) in row.inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with open(download.value.path(), encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    found = [one for one in lines if one["action"] == "secret.revealed"]
    assert [one["reason"] for one in found] == ["a look at the canary deployment"]


def test_a_thousand_rows_are_imported_and_the_seven_bad_ones_named(
    desk: Any, vendor: Any, place: Any, people: Any
):
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(["name", "account", "environment", "application", "purpose"])
    bad = {3, 101, 102, 500, 777, 998, 1000}
    for number in range(1, 1001):
        where = "Nowhere" if number in bad and number != 3 else place.environment.name
        row = [f"import {number}", place.api_account.name, where, place.application.name]
        lines.writerow([*row, "two\nlines" if number == 3 else ""])
    desk.enter(people.owner)
    page = desk.go("/keys/import/")
    page.get_by_label("CSV or .env").fill(out.getvalue())
    page.get_by_role("button", name="Show what would happen").click()
    page.get_by_text("993 of 1000 rows are good.").wait_for(timeout=60_000)
    assert not ApiKey.objects.exists()
    page.get_by_role("button", name="Record them").click()
    page.get_by_text("993 of 1000 rows are recorded.").wait_for(timeout=90_000)
    assert ApiKey.objects.count() == 993
    refused = page.locator("tbody tr", has_text="Refused")
    assert refused.count() == 7
    # The header is line 1; the third row takes two lines, which a purpose may not.
    expected = {number + 1 + (number >= 3) for number in bad}
    assert {int(one.locator("td").first.inner_text()) for one in refused.all()} == expected


def test_what_is_not_the_vendors_is_sent_only_when_it_is_ticked(
    desk: Any, vendor: Any, place: Any, people: Any
):
    """5b, B110: the look names what is left out and why; a tick is kept, and stands for that row."""
    own, other = (vendor.create_key(place.vendor_api["id"])["key"] for _ in range(2))
    lines = [f"KEY_{number}=" for number in range(120)]
    lines[2] = f"SHOP_TOKEN={other.removeprefix('inf_')}"
    lines[110] = f"INFLUTICS_API_KEY={own}"
    lines[115] = "DATABASE_URL=postgres://shop:sheltered@db.internal/shop"
    desk.enter(people.owner)
    page = desk.go("/keys/import/")
    page.get_by_label("CSV or .env").fill("\n".join(lines))
    for label, one in (
        ("Account", place.api_account),
        ("Environment", place.environment),
        ("Application", place.application),
    ):
        page.locator("#many").get_by_label(label).select_option(str(one.pk))
    page.get_by_role("button", name="Show what would happen").click()
    page.get_by_text("1 of 120 rows are good, 2 left out.").wait_for()
    assert page.get_by_text("sheltered", exact=False).count() == 0
    before = len(vendor.ledger(route="usage"))
    tick = page.get_by_label("Send SHOP_TOKEN all the same")
    assert not tick.is_checked()
    page.get_by_role("button", name="Record them").click()
    page.get_by_text("1 of 120 rows are recorded, 2 left out.").wait_for(timeout=60_000)
    assert [key.name for key in ApiKey.objects.all()] == ["INFLUTICS_API_KEY"]
    assert len(vendor.ledger(route="usage")) == before + 1
    tick.check()
    page.get_by_role("button", name="Record them").click()
    page.get_by_text("The vendor refuses this key", exact=False).wait_for(timeout=60_000)
    assert len(vendor.ledger(route="usage")) == before + 2
    assert page.get_by_label("CSV or .env").input_value().startswith("KEY_0=")


def test_a_lost_connection_is_said_and_found_again(desk: Any, vendor: Any, place: Any, people: Any):
    key = make_key(vendor, place, people.owner)
    registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    from tests.rotation.driving import drive, started

    rotation = started(people.operator, key)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == "adoption")
    desk.enter(people.operator)
    page = desk.go(f"/rotations/{rotation.pk}/")
    note = page.get_by_text("The connection is lost.")
    assert not note.is_visible()
    page.context.set_offline(True)
    note.wait_for(timeout=15_000)
    page.context.set_offline(False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    note.wait_for(state="hidden", timeout=15_000)
    desk.complaints.clear()  # the browser itself logs each request that failed


def test_the_keyboard_alone_rotates_many(desk: Any, vendor: Any, place: Any, people: Any):
    """A whole job without a mouse: find, tick, look, begin."""
    lone_key(vendor, place, people.owner, name="only one")
    desk.enter(people.owner)
    page = desk.go("/keys/")
    page.keyboard.press("/")
    page.keyboard.type("only")
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/?q=only")
    reach(page, "Tick only one")
    page.keyboard.press("Space")
    reach(page, "Rotate the ticked ones", back=True)
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/bulk")
    reach(page, "Rotate 1 key")
    page.keyboard.press("Enter")
    page.wait_for_url("**/campaigns/*/")


def reach(page: Any, name: str, *, back: bool = False) -> None:
    """Press Tab until the element of this name has the focus."""
    named = (
        "document.activeElement.ariaLabel"
        " || document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"
    )
    for _ in range(80):
        if page.evaluate(named) == name:
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{name} is not reached by Tab")
