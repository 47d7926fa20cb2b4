"""The console in Chromium, with a real worker and the sandbox vendor's own dashboard."""

from contextlib import suppress
from datetime import time
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Error as BrowserError

from keyvault.access import approvals, groups
from keyvault.console import saved_view_rows
from keyvault.models import ApiKey, KeyVersion
from keyvault.models.approvals import ApprovalAction
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.consumers import registry
from rotation.models import Heartbeat, HumanTask, Reason, Rotation, Step, WaitingFor
from rotation.models.onboarding import SavedView
from rotation.scheduling import inheritance
from rotation.scheduling.policies import Wish
from tests.api_client import sign_in
from tests.end_to_end.states import UNFOLD, answers, rare_pages
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started
from tests.waiting import until

LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""
MOST_BYTES = 100_000
TWICE = """[...document.querySelectorAll('[id]')].map((one) => one.id)
  .filter((one, place, all) => all.indexOf(one) !== place)"""


class Desk:
    """A person at a browser window: what they see, and every complaint of the browser."""

    def __init__(self, context: Any, url: str) -> None:
        self.url = url
        self.complaints: list[str] = []
        context.add_init_script(LISTEN)
        self.page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        # A page that is not found or refused is logged as an error by the browser itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def sign_in(self, member: Any, password: str) -> "Desk":
        self.page.goto(f"{self.url}/sign-in")
        self.page.get_by_label("E-mail").fill(member.email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.url}/")
        return self

    def enter(self, member: Any) -> "Desk":
        """Begin a session without the form, whose password check is slow by design."""
        client = Client()
        sign_in(client, member)
        name = settings.SESSION_COOKIE_NAME
        cookie = {"name": name, "value": client.cookies[name].value, "url": self.url}
        self.page.context.add_cookies([cookie])
        return self

    def go(self, path: str) -> Any:
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def desk(browser, live_url):
    """Return a browser window; the test fails on any complaint of the browser."""
    desk = Desk(browser, live_url)
    yield desk
    assert desk.complaints == []


@pytest.fixture
def manual(vendor, place, people):
    """Return a key whose vendor needs people."""
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    return make_key(vendor, place, people.owner, manual=True, name="Nightly export")


def test_a_key_is_recorded_and_rotated_while_one_watches(desk, vendor, place, people, worker):
    made = vendor.create_key(place.vendor_api["id"])
    desk.sign_in(people.owner, people.password)
    page = desk.go("/keys/new/")
    page.get_by_label("Account", exact=False).select_option(label="Sandbox")
    page.get_by_label("Environment").select_option(label="Development")
    page.get_by_label("Application").select_option(label="Billing")
    page.get_by_label("Name", exact=True).fill("Video upload")
    page.get_by_label("Key", exact=True).fill(f"INFLUTICS_API_KEY={made['key']}")
    page.get_by_label("Id at the vendor").fill(made["id"])
    page.get_by_role("button", name="Check and record").click()
    page.get_by_text("The variable name in front of the key was removed.").wait_for()
    page.get_by_role("button", name="Rotate now").click()
    page.wait_for_url("**/rotations/*/")
    page.evaluate("window.stayed = true")
    page.locator("#live[data-step=done]").wait_for(timeout=45_000)
    assert page.evaluate("window.stayed") is True  # it moved by itself, without a reload
    assert page.locator(".proofs .proved").count() == 4
    assert page.locator("[data-poll]").count() == 0
    key = ApiKey.objects.get()
    assert vendor.use(secret_of(key.current)) == 200
    assert vendor.use(made["key"]) == 401
    assert_all_is_well(vendor, place)


def test_a_manual_rotation_leads_a_person_through_both_tasks(
    desk, browser, vendor, place, people, manual, worker
):
    old = secret_of(manual.current)
    desk.enter(people.operator)
    page = desk.go(f"/keys/{manual.pk}/")
    page.get_by_role("button", name="Rotate now").click()
    page.get_by_role("link", name="Open the task").click()
    with browser.expect_page() as opened:
        page.get_by_role("link", name="Open Influtics").click()
    vendor_page = opened.value
    new = generate(vendor_page, place)
    page.get_by_role("textbox", name="New key").fill(f" {new} ")
    page.get_by_role("button", name="Check and store").click()
    page.get_by_text("Stored as version 2.").wait_for()
    assert new not in page.content()
    page.get_by_role("link", name="See the rotation").click()
    page.get_by_label("How do you know").fill("The nightly job was redeployed.")
    page.get_by_role("button", name="Confirm and go on").click()
    page.get_by_text("Delete a key at the vendor.").wait_for(timeout=30_000)
    page.get_by_role("link", name="Open the task").click()
    delete(vendor_page, vendor.lookup(old)["id"])
    page.get_by_role("button", name="I deleted it, look now").click()
    page.locator("#live[data-step=done]").wait_for(timeout=45_000)
    assert Rotation.objects.get().step == Step.DONE
    assert vendor.use(old) == 401
    assert_all_is_well(vendor, place)


def generate(page, place):
    """Make a key on the vendor's dashboard and return it, as a person would copy it."""
    page.locator("#email").fill(place.vendor_manual["email"])
    page.locator("#password").fill(place.vendor_manual["password"])
    page.get_by_role("button", name="Sign in").click()
    page.locator("#generate-key").click()
    return page.locator("#new-key").inner_text().strip()


def delete(page, key_id):
    page.locator(f"#delete-{key_id}").click()
    page.locator("#confirm-delete").click()
    page.locator("#notice").wait_for()


def shown(page):
    """Return the page's source; nothing while the browser is on its way to another."""
    with suppress(BrowserError):
        return page.content()
    return ""


def test_after_signing_out_no_step_back_shows_a_secret(desk, vendor, place, people):
    """B89: not in the history, not in the browser's stores, not filled in by it."""
    key = make_key(vendor, place, people.owner, name="secret-page")
    secret = secret_of(key.current)
    desk.enter(people.developer)
    page = desk.page
    desk.go(f"/keys/{key.pk}/")
    assert secret not in page.content(), "not in the page before it is asked for"
    page.get_by_text("Reveal the secret").click()
    page.get_by_label("Why do you need it?").fill("The deployment is done by hand.")
    page.get_by_role("button", name="Reveal").click()
    page.locator("#secret").wait_for()
    assert secret in page.content()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in*")
    for _ in range(3):
        # The answer to a POST that no cache keeps cannot be shown again: the browser says so.
        with suppress(BrowserError):
            page.go_back()
        assert secret not in until(lambda: shown(page), what="the page to stand still")
    page.goto(f"{desk.url}/keys/{key.pk}/")
    assert "/sign-in" in page.url
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert secret not in kept


def test_a_revealed_secret_is_hidden_after_half_a_minute(desk, vendor, place, people):
    key = make_key(vendor, place, people.owner)
    desk.enter(people.owner)
    page = desk.page
    page.clock.install()
    desk.go(f"/keys/{key.pk}/")
    page.get_by_text("Reveal the secret").click()
    page.get_by_label("Why do you need it?").fill("The deployment is done by hand.")
    page.get_by_role("button", name="Reveal").click()
    secret = page.locator("#secret")
    secret.wait_for()
    assert secret.inner_text() == secret_of(key.current)
    page.clock.run_for(29_000)
    assert secret.inner_text() == secret_of(key.current)
    page.clock.run_for(2_000)
    assert secret.inner_text() == "Hidden again."
    assert secret_of(key.current) not in page.content()
    assert page.get_by_role("button", name="Copy").count() == 0


def at_adoption(people, vendor, place):
    """Return a rotation that waits for consumers to move."""
    key = make_key(vendor, place, people.owner, name="Video upload")
    registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    rotation = started(people.operator, key)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    return drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)


def test_what_moves_does_not_disturb_who_is_typing(desk, vendor, place, people):
    rotation = at_adoption(people, vendor, place)
    desk.enter(people.operator)
    page = desk.go(f"/rotations/{rotation.pk}/")
    page.get_by_label("How do you know").fill("I am still wri")
    Rotation.objects.filter(pk=rotation.pk).update(waiting_text="Only web-1 is left.")
    page.get_by_text("Only web-1 is left.").wait_for(timeout=10_000)
    page.keyboard.type("ting")
    assert page.get_by_label("How do you know").input_value() == "I am still writing"


def test_a_page_that_nobody_looks_at_asks_nothing(desk, vendor, place, people):
    rotation = at_adoption(people, vendor, place)
    desk.enter(people.operator)
    page = desk.page
    page.clock.install()
    desk.go(f"/rotations/{rotation.pk}/")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/live" in request.url else None
    )
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(20_000)
    assert asked == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    with page.expect_response("**/live?*") as answer:
        page.clock.run_for(2_500)
    assert answer.value.status == 204


def test_the_console_works_by_keyboard(desk, vendor, place, people):
    make_key(vendor, place, people.owner, name="Video upload")
    desk.enter(people.owner)
    page = desk.go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    page.keyboard.type("video")
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/?q=video")
    page.get_by_role("link", name="Video upload").focus()
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(ring) == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/*/")


def test_the_leak_warning_shows_only_for_a_leak(desk, vendor, place, people):
    key = make_key(vendor, place, people.owner)
    desk.enter(people.operator)
    page = desk.go(f"/keys/{key.pk}/")
    warning = page.get_by_text("A leak waits for nobody")
    assert not warning.is_visible()
    page.get_by_label("Reason").select_option("leak")
    assert warning.is_visible()


def every_page(people, vendor, place, manual):
    """Bring the installation into a state in which every page has something to show."""
    waiting = at_adoption(people, vendor, place)
    pasting = drive(started(people.operator, manual))
    done_key = make_key(vendor, place, people.owner, name="A" * 60, environment=place.production)
    done = drive(started(people.operator, done_key, reason="leak"))
    KeyVersion.objects.filter(key=manual).update(expires_at=timezone.now())
    Heartbeat.objects.create(name="tick", at=timezone.now())
    task = HumanTask.objects.get(rotation=pasting, closed_at=None)
    group = groups.add_group(people.owner, "Night shift")
    groups.add_to_group(people.owner, group, people.viewer)
    approvals.add_rule(people.owner, ApprovalAction.EXPORT)
    inheritance.set_scope(people.owner, None, Wish(90, time(3), "Europe/Berlin"))
    saved_view_rows.save_view(people.owner, SavedView.Of.KEYS, "Overdue first", "order=due")
    exposed = service.exposed_by(Choice(application=place.application))
    campaign = service.start(people.owner, "A break-in", Reason.INCIDENT, exposed)
    return [
        "/",
        "/keys/",
        "/keys/new/",
        "/keys/import/",
        "/keys/by-application/",
        "/notices/",
        "/calendar/",
        f"/keys/{waiting.key_id}/",
        f"/keys/{done_key.pk}/",
        "/rotations/",
        *(f"/rotations/{one.pk}/" for one in (waiting, pasting, done)),
        f"/tasks/{task.pk}/",
        "/applications/",
        f"/applications/{place.application.pk}/",
        "/accounts/",
        f"/accounts/{place.api_account.pk}/",
        "/environments/",
        f"/environments/{place.production.pk}/",
        "/policies/",
        f"/policies/application/{place.application.pk}/",
        "/tokens/",
        "/settings/",
        "/start/?step=key",
        "/start/?step=environments",
        "/overview/",
        "/style",
        "/audit/",
        "/account/",
        "/account/2fa/",
        "/account/2fa/webauthn/add/",
        "/account/2fa/totp/activate/",
        "/account/password/",
        "/people/",
        f"/people/{people.developer.pk}/",
        f"/people/groups/{group.pk}/",
        "/campaigns/",
        f"/campaigns/{campaign.pk}/",
        "/approvals/",
        "/no-such-page",
    ]


def test_every_page_is_accessible_narrow_and_light(desk, vendor, place, people, manual):
    """Axe finds nothing in either theme; 375 px need no sideways scroll; 100 KB are enough."""
    desk.enter(people.owner)
    page, wrong = desk.page, []
    wrong += faults(
        page, desk.go, ["/sign-in", "/join", *every_page(people, vendor, place, manual)]
    )
    assert wrong == [], "\n".join(wrong)


def test_rare_states_are_accessible_narrow_and_light(desk, vendor, place, people):
    """Holds, retirements, copies, early ends, remarks and returns, with every fold open."""
    desk.enter(people.owner)
    page = desk.page

    def go(path):
        desk.go(path)
        page.evaluate(UNFOLD)

    wrong = faults(page, go, rare_pages(vendor, place, people).values())
    for name in answers(desk, place, people):
        page.wait_for_load_state("networkidle")
        wrong += faults(page, lambda _: None, [name])
    assert wrong == [], "\n".join(wrong)


def test_a_long_name_pushes_nothing_out_of_the_frame(desk, people):
    """People without a name are shown by their address, which is often long."""
    people.owner.first_name = "a.very.long.address.of.somebody@a-company-of-many-words.example.com"
    people.owner.save()
    desk.enter(people.owner)
    for width in (375, 768, 1440):
        desk.page.set_viewport_size({"width": width, "height": 900})
        desk.go("/keys/")
        frame = desk.page.locator("header.side").bounding_box()
        out = desk.page.get_by_role("button", name="Sign out").bounding_box()
        find = desk.page.locator(".search").bounding_box()
        for part in (out, find):
            assert part["x"] + part["width"] <= frame["x"] + frame["width"], width


def faults(page, go, paths):
    """Return what is wrong with these pages, in words."""
    axe, found = Axe(), []
    for path in paths:
        page.set_viewport_size({"width": 375, "height": 800})
        page.emulate_media(color_scheme="light")
        go(path)
        if path == "/":
            page.locator("#health .state").first.wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found += [f"{path}: {wide} px too wide"] if wide > 0 else []
        found += [f"{path}: id {one} twice" for one in page.evaluate(TWICE)]
        for width, scheme in ((375, "light"), (1440, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            broken = axe.run(page).response["violations"]
            found += [f"{path} {width} {scheme}: {_violation(one)}" for one in broken]
    return found


def _violation(one):
    return one["id"], [node["html"][:120] for node in one["nodes"][:3]]


def test_a_page_weighs_less_than_100_kb(desk, vendor, place, people):
    make_key(vendor, place, people.owner)
    desk.enter(people.owner)
    page = desk.go("/keys/")
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((one) => one.decodedBodySize)"
    )
    assert len(sizes) >= 4
    assert all(sizes)
    assert sum(sizes) < MOST_BYTES


def test_a_session_that_ended_leads_back_to_the_page(desk, vendor, place, people):
    rotation = at_adoption(people, vendor, place)
    desk.enter(people.operator)
    page = desk.go(f"/rotations/{rotation.pk}/")
    page.context.clear_cookies()
    page.wait_for_url(f"**/sign-in?next=/rotations/{rotation.pk}/", timeout=10_000)
    page.get_by_label("E-mail").fill(people.operator.email)
    page.get_by_label("Password").fill(people.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/rotations/{rotation.pk}/")
    until(lambda: page.locator("#live[data-poll]").count() == 1, what="the rotation's page")
