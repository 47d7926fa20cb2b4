"""Sign-in: passwords, locks, sessions, second factors, and what a stolen table gives."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client

from keyvault.access import sessions
from keyvault.access.invitations import invite
from keyvault.audit.models import AuditEvent
from keyvault.models import Member, MemberSession
from keyvault.models.people import RateLimitCounter
from tests.api_client import broken_audit, sign_in
from tests.factories import PASSWORD, make_member
from tests.hashers import CountingHasher

WRONG = "Address and password do not match a member"


def enter(client: Client, email: str = "owner@example.com", password: str = PASSWORD, **extra: Any):
    """Send the form as a browser does."""
    return client.post("/sign-in", {"login": email, "password": password}, **extra)


def rows(action: str) -> int:
    return AuditEvent.objects.filter(action=action).count()


def test_a_session_is_a_digest_in_the_table_and_its_data_cannot_be_read(people: Any) -> None:
    """TM-9: whoever has the table can neither take the session over nor read what is in it."""
    client = Client()
    enter(client)
    cookie = client.cookies["keyvault_session"].value
    row = MemberSession.objects.get()
    assert row.member == people.owner
    assert cookie not in (row.pk, row.session_data)
    stolen = Client()
    stolen.cookies["keyvault_session"] = row.pk
    assert stolen.get("/").status_code == 302
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_data FROM keyvault_membersession")
        text = cursor.fetchone()[0]
    assert "auth_user" not in text
    assert "account_authentication" not in text
    assert client.get("/").status_code == 200


def test_the_session_id_changes_at_sign_in_and_a_planted_one_opens_nothing(people: Any) -> None:
    """AN-6, B90."""
    victim = Client()
    victim.get("/sign-in")
    store = sessions.SessionStore()
    store["planted"] = True
    store.create()
    victim.cookies["keyvault_session"] = store.session_key or ""
    enter(victim)
    assert victim.cookies["keyvault_session"].value != store.session_key or ""
    thief = Client()
    thief.cookies["keyvault_session"] = store.session_key or ""
    assert thief.get("/").status_code == 302
    before = victim.cookies["keyvault_session"].value
    victim.post("/sign-out")
    again = Client()
    again.cookies["keyvault_session"] = before
    assert again.get("/").status_code == 302, "signing out must end it on the server"


def test_a_session_ends_when_idle_and_some_hours_after_the_sign_in(people: Any) -> None:
    """AN-7: thirty minutes without its person; twelve hours whatever they do."""
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        idle, busy = Client(), Client()
        enter(idle)
        enter(busy, "operator@example.com")
        for minutes in range(20, 12 * 60, 20):
            clock.move_to(start + timedelta(minutes=minutes))
            assert busy.get("/").status_code == 200
        clock.move_to(start + timedelta(minutes=31))
        assert idle.get("/").status_code == 302
        clock.move_to(start + timedelta(hours=12, minutes=1))
        assert busy.get("/").status_code == 302


def test_a_page_that_moves_by_itself_does_not_keep_a_session_alive(people: Any) -> None:
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        client = Client()
        enter(client)
        clock.move_to(start + timedelta(minutes=25))
        assert client.get("/health/line", headers={"HX-Request": "true"}).status_code == 200
        clock.move_to(start + timedelta(minutes=35))
        assert client.get("/").status_code == 302


def test_an_account_closes_after_ten_wrong_passwords_known_or_not(people: Any) -> None:
    """AN-4, AN-5: the right password is of no use then; an unknown address is told the same."""
    told = {}
    for email in ("owner@example.com", "nobody@example.com"):
        answers = [enter(Client(), email, "not this", REMOTE_ADDR="10.0.0.9") for _ in range(11)]
        assert all(WRONG in one.content.decode() for one in answers[:10])
        told[email] = re.search(r'role="alert">.*?</p>', answers[10].content.decode(), re.S)[0]  # type: ignore[index]
        assert "Too many tries" in told[email]
    assert len(set(told.values())) == 1
    assert enter(Client()).status_code == 400
    assert rows("member.locked_out") == 2
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        assert enter(Client()).status_code == 302


def test_a_source_closes_whichever_accounts_it_tries_and_others_stay_open(people: Any) -> None:
    for number in range(31):
        answer = enter(Client(), f"guess{number}@example.com", "not this", REMOTE_ADDR="10.9.9.9")
    assert "Too many tries" in answer.content.decode()
    assert enter(Client(), REMOTE_ADDR="10.9.9.9").status_code == 400
    assert enter(Client(), REMOTE_ADDR="10.9.9.8").status_code == 302


def test_a_flood_of_tries_leaves_few_rows(people: Any) -> None:
    """Each row takes the chain's lock: after the lock, tries are counted and not written."""
    for _ in range(60):
        enter(Client(), "owner@example.com", "not this")
    assert rows("member.sign_in_failed") == 10
    assert rows("member.locked_out") <= 3


def test_fifty_at_once_are_fifty(people: Any) -> None:
    """AN-4: counted before the password is looked at, in one statement."""
    answers: list[str] = []

    def guess() -> None:
        answers.append(enter(Client(), "owner@example.com", "not this").content.decode())
        connections.close_all()

    threads = [threading.Thread(target=guess) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A busy machine may turn some of the ten away for now; it never looks at an eleventh.
    looked_at = sum(WRONG in one for one in answers)
    assert 0 < looked_at <= 10
    assert RateLimitCounter.objects.get(what="sign-in account").count >= looked_at


def test_an_inactive_member_is_told_what_an_unknown_one_is(people: Any) -> None:
    Member.objects.filter(pk=people.owner.pk).update(is_active=False)
    right = enter(Client())
    unknown = enter(Client(), "nobody@example.com")
    assert right.status_code == unknown.status_code == 400
    for one in (right, unknown):
        assert WRONG in one.content.decode()


def test_a_changed_password_ends_every_other_session(people: Any) -> None:
    """B90: and the page says which service tokens go on working."""
    here, there, third = Client(), Client(), Client()
    for client in (here, there, third):
        enter(client)
    new = "seven purple anvils under water"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    answer = here.post("/account/password/", form)
    assert answer.status_code == 302, answer.content.decode()
    assert there.get("/").status_code == 302
    assert third.get("/").status_code == 302
    assert here.get("/").status_code == 200
    assert enter(Client()).status_code == 400
    assert enter(Client(), password=new).status_code == 302
    assert rows("member.password_changed") == 1


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("fourteen chars", "15"),
        ("passwordpassword1", "easy to guess"),
        ("123456789012345678", "easy to guess"),
        ("owner@example.comowner", "easy to guess"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(people: Any, password: str, why: str) -> None:
    """AN-2."""
    client = Client()
    enter(client)
    form = {"oldpassword": PASSWORD, "password1": password, "password2": password}
    answer = client.post("/account/password/", form)
    assert answer.status_code == 200
    assert why in answer.content.decode()


def test_sessions_are_listed_and_ended_one_by_one_or_all(people: Any) -> None:
    """AN-9."""
    here, there, third = Client(), Client(headers={"User-Agent": "Other <b>browser"}), Client()
    for client in (here, there, third):
        enter(client)
    page = here.get("/account/").content.decode()
    assert "Other &lt;b&gt;browser" in page
    other = MemberSession.objects.get(agent__startswith="Other")
    here.post("/account/sessions/end", {"session": other.pk})
    assert there.get("/").status_code == 302
    assert third.get("/").status_code == 200
    here.post("/account/sessions/end")
    assert third.get("/").status_code == 302
    assert here.get("/").status_code == 200
    stranger = Client()
    enter(stranger, "viewer@example.com")
    mine = MemberSession.objects.get(member=people.owner)
    stranger.post("/account/sessions/end", {"session": mine.pk})
    assert here.get("/").status_code == 200, "nobody ends another person's session here"


def code_of(secret: str, at: float) -> str:
    return str(format_hotp_value(hotp_value(secret, int(at) // 30)))


def add_app(client: Client) -> str:
    """Set up an authenticator app and return its seed."""
    page = client.get("/account/2fa/totp/activate/")
    assert page.status_code == 200, page
    seed = re.search(r'<code class="mono">(\w+)</code>', page.content.decode())[1]  # type: ignore[index]
    answer = client.post("/account/2fa/totp/activate/", {"code": code_of(seed, time.time())})
    assert answer.status_code == 302, answer.content.decode()
    return seed


def prove(client: Client) -> None:
    answer = client.post("/account/reauthenticate/", {"password": PASSWORD})
    assert answer.status_code == 302, answer.content.decode()


def test_a_code_of_the_app_opens_once(people: Any) -> None:
    """AN-3: the second use of a code is refused, in any browser."""
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        client = Client()
        enter(client)
        prove(client)
        seed = add_app(client)
        clock.move_to(start + timedelta(seconds=60))
        code = code_of(seed, time.time())
        first, second = Client(), Client()
        for one in (first, second):
            answer = enter(one)
            assert answer["Location"] == "/account/2fa/authenticate/"
            assert one.get("/").status_code == 302, "half signed in is not signed in"
        assert first.post("/account/2fa/authenticate/", {"code": code}).status_code == 302
        assert first.get("/").status_code == 200
        assert second.post("/account/2fa/authenticate/", {"code": code}).status_code == 200
        assert second.get("/").status_code == 302
        assert rows("member.sign_in_failed") == 1


def test_the_seed_is_encrypted_in_the_database_and_in_the_session(people: Any) -> None:
    client = Client()
    enter(client)
    prove(client)
    client.get("/account/2fa/totp/activate/")
    seed = add_app(client)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data::text FROM mfa_authenticator UNION ALL"
                       " SELECT session_data FROM keyvault_membersession")  # fmt: skip
        assert all(seed not in text for (text,) in cursor.fetchall())


def test_recovery_codes_open_once_each(people: Any) -> None:
    client = Client()
    enter(client)
    prove(client)
    add_app(client)
    page = client.get("/account/2fa/recovery-codes/", follow=True).content.decode()
    codes = re.findall(r"\b\d{8}\b|\b[0-9a-f-]{8,12}\b(?=\n|<)", page)
    assert codes, page
    assert rows("member.factor_changed") == 2, "the app, and the codes that come with it"
    with connection.cursor() as cursor:
        cursor.execute("SELECT data::text FROM mfa_authenticator")
        assert all(codes[0] not in text for (text,) in cursor.fetchall())
    one, two = Client(), Client()
    enter(one)
    assert one.post("/account/2fa/authenticate/", {"code": codes[0]}).status_code == 302
    enter(two)
    assert two.post("/account/2fa/authenticate/", {"code": codes[0]}).status_code == 200
    assert two.get("/").status_code == 302


def test_with_the_setting_nothing_opens_before_a_factor_is_set_up(
    people: Any, settings: Any
) -> None:
    settings.REQUIRE_MFA = True
    client = Client()
    enter(client)
    for path in ("/", "/keys/", "/audit/", "/admin/"):
        assert client.get(path)["Location"] == "/account/"
    refused = client.get("/api/v1/keys/")
    assert refused.status_code == 403
    assert refused.json()["code"] == "second_factor_required"
    assert "second factor is required" in client.get("/account/").content.decode()
    prove(client)
    add_app(client)
    assert client.get("/keys/").status_code == 200


def test_adding_a_factor_asks_for_a_proof_first(people: Any) -> None:
    """AN-10: a session alone, perhaps stolen, adds no factor."""
    client = Client()
    client.force_login(people.owner)
    assert "reauthenticate" in client.get("/account/2fa/totp/activate/")["Location"]
    assert not Authenticator.objects.exists()


def test_nobody_signs_up(people: Any) -> None:
    for path in ("/account/signup/", "/accounts/signup/", "/signup/", "/account/password/reset/"):
        assert Client().get(path).status_code == 404


def test_an_address_opens_however_its_letters_were_typed(people: Any) -> None:
    """An owner may write it as on a business card, and the sign-in form lower-cases what it gets."""
    member, link = invite(people.owner, "New.Person@Example.COM")
    assert member.email == "new.person@example.com"
    code = link.reveal().partition("#")[2]
    assert Client().post("/join", {"code": code, "password": PASSWORD}).status_code == 302
    for typed in ("New.Person@Example.COM", "new.person@example.com"):
        client = Client()
        assert enter(client, typed).status_code == 302
        assert client.get("/account/").status_code == 200


def test_who_joins_while_the_audit_log_is_away_is_told_where_they_stand(people: Any) -> None:
    _, link = invite(people.owner, "new@example.com")
    form = {"code": link.reveal().partition("#")[2], "password": PASSWORD}
    client = Client()
    with broken_audit():
        assert client.post("/join", form).status_code == 503
    assert client.post("/join", form).status_code == 302, "nothing was used up"
    assert client.get("/account/").status_code == 200


def test_a_used_code_is_remembered_among_many_others(people: Any) -> None:
    """AN-3: the cache drops rows at random when it is full, and must not be full so soon."""
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        client = Client()
        enter(client)
        prove(client)
        seed = add_app(client)
        clock.move_to(start + timedelta(seconds=60))
        code = code_of(seed, time.time())
        first, second = Client(), Client()
        enter(first)
        enter(second)
        assert first.post("/account/2fa/authenticate/", {"code": code}).status_code == 302
        cache.set_many({f"somebody-else-{number}": 1 for number in range(400)})
        assert second.post("/account/2fa/authenticate/", {"code": code}).status_code == 200


def test_pages_with_a_seed_or_codes_are_kept_nowhere(people: Any) -> None:
    """WE-6."""
    client = Client()
    enter(client)
    prove(client)
    seed_page = client.get("/account/2fa/totp/activate/")
    add_app(client)
    codes = client.get("/account/2fa/recovery-codes/")
    for page in (seed_page, codes, client.get("/account/")):
        assert "no-store" in page["Cache-Control"]


def test_a_member_with_nothing_to_prove_by_is_told_what_to_do(people: Any) -> None:
    """Whoever comes by single sign-on alone has neither a password nor a factor here."""
    client = sign_in(Client(), people.owner, proved=False)
    people.owner.set_unusable_password()
    people.owner.save()
    client.force_login(people.owner)
    page = client.post("/people/", {"email": "x@example.com"})
    assert page.status_code == 403
    assert "sign in again" in page.content.decode()


@pytest.mark.parametrize("answer", ["nothing", "<html>", "[]", '{"issuer": "x"}'])
def test_a_provider_of_single_sign_on_that_is_away_or_odd_is_named(
    people: Any, settings: Any, answer: str
) -> None:
    with provider_that_says(answer) as address:
        app = {"provider_id": "sso", "name": "SSO", "client_id": "x", "secret": "y"}
        app["settings"] = {"server_url": address}  # type: ignore[assignment]
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
        page = Client().post("/account/sso/login/")
    assert page.status_code == 503, page.content.decode()
    assert "gave no usable answer" in page.content.decode()


@contextmanager
def provider_that_says(text: str) -> Iterator[str]:
    """Serve one text at every address; for "nothing", let the address refuse connections."""

    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Says)
    address = f"http://127.0.0.1:{server.server_port}"
    if text == "nothing":
        server.server_close()
        yield address
        return
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_unknown_and_known_addresses_cost_the_same_work(people: Any, settings: Any) -> None:
    """AN-2: what takes the time is counted, not timed: one password is hashed for each, whatever it is."""
    settings.PASSWORD_HASHERS = ["tests.hashers.CountingHasher"]
    people.owner.set_password(PASSWORD)
    people.owner.save()
    people.viewer.set_password(PASSWORD)
    people.viewer.is_active = False
    people.viewer.save()
    without = make_member("without@example.com")
    without.set_unusable_password()
    without.save()
    work = []
    for typed in ("owner@", "viewer@", "nobody@", "without@"):
        CountingHasher.rounds = 0
        assert enter(Client(), f"{typed}example.com", "wrong").status_code == 400
        work.append(CountingHasher.rounds)
    assert set(work) == {CountingHasher.iterations}, work
