"""Doors that need the real thing: passkeys in a browser, and single sign-on at a real provider."""

import html
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from keyvault.audit.models import AuditEvent
from keyvault.models import Member
from tests import oidc_provider
from tests.conftest import ROOT, Process, _answers
from tests.waiting import until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_passkey_is_added_and_then_opens_without_a_password(
    browser: Any, live_url: str, people: Any
) -> None:
    """Real WebAuthn: the browser's virtual authenticator signs, our server verifies."""
    url = live_url.replace("127.0.0.1", "localhost")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    devtools = browser.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    page.goto(f"{url}/sign-in")
    page.get_by_label("E-mail").fill("owner@example.com")
    page.get_by_label("Password").fill(people.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/2fa/webauthn/add/")
    if "reauthenticate" in page.url:
        page.get_by_label("Password").fill(people.password)
        page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Passwordless").check()
    page.locator("#mfa_webauthn_add").click()
    page.wait_for_url("**/recovery-codes/**")
    browser.clear_cookies()
    page.goto(f"{url}/sign-in")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{url}/")
    signed_in = AuditEvent.objects.filter(action="member.signed_in").first()
    assert signed_in
    assert "webauthn" in signed_in.payload
    assert complaints == []


@pytest.fixture
def sso(stack: Any, database: None, people: Any) -> Iterator[str]:
    """Run the provider and a web process of ours that trusts it; return ours."""
    ours, theirs = free_port(), free_port()
    url, issuer = f"http://127.0.0.1:{ours}", f"http://127.0.0.1:{theirs}"
    folder = stack.folder / f"provider-{theirs}"
    folder.mkdir(mode=0o700)
    provider = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.oidc_provider",
            str(folder),
            str(theirs),
            f"{url}/account/sso/callback/",
            "owner@example.com=verified",
            "viewer@example.com=unverified",
            "stranger@example.com=verified",
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    web = Process(
        stack,
        "web",
        [
            "gunicorn",
            "keyvault.wsgi:application",
            "--worker-class",
            "keyvault.web_server.BufferingWorker",
            "--threads",
            "4",
            "--no-control-socket",
            "--bind",
            f"127.0.0.1:{ours}",
        ],
        BASE_URL=url,
        OIDC_ISSUER=issuer,
        OIDC_CLIENT_ID=oidc_provider.CLIENT,
        OIDC_CLIENT_SECRET=oidc_provider.CLIENT_SECRET,
    )
    try:
        until(lambda: _answers(theirs), what="the provider")
        until(lambda: _answers(ours), what="gunicorn")
        yield url
    finally:
        web.stop()
        provider.terminate()
        provider.wait(10)


def through(session: requests.Session, url: str, email: str) -> requests.Response:
    """Go the whole way as a browser does: our button, their form, back to us."""
    page = session.get(f"{url}/sign-in", timeout=10)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    answer = session.post(
        f"{url}/account/sso/login/",
        data={"csrfmiddlewaretoken": token[1]},
        headers={"Referer": url},
        timeout=10,
    )
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text)
    form = {name: html.unescape(value) for name, value in fields}
    form |= {"login": email, "password": oidc_provider.PASSWORD}
    answer = session.post(answer.url, data=form, timeout=10)
    return answer


def test_single_sign_on_opens_for_members_with_a_verified_address_only(
    sso: str, people: Any
) -> None:
    member = requests.Session()
    member.trust_env = False
    answer = through(member, sso, "owner@example.com")
    assert answer.url == f"{sso}/", answer.text
    assert "Sign out" in answer.text
    row = AuditEvent.objects.filter(action="member.signed_in").first()
    assert row
    assert row.actor_id == str(people.owner.pk)
    for email in ("viewer@example.com", "stranger@example.com"):
        other = requests.Session()
        other.trust_env = False
        refused = through(other, sso, email)
        assert "Sign out" not in refused.text, refused.url
        assert other.get(f"{sso}/", timeout=10).url.startswith(f"{sso}/sign-in")
    assert not Member.objects.filter(email="stranger@example.com").exists()
    Member.objects.filter(pk=people.owner.pk).update(is_active=False)
    assert member.get(f"{sso}/", timeout=10).url.startswith(f"{sso}/sign-in")
    again = requests.Session()
    again.trust_env = False
    through(again, sso, "owner@example.com")
    assert again.get(f"{sso}/", timeout=10).url.startswith(f"{sso}/sign-in")
