"""Every page and every API route: headers, the cross-site check, host names and redirects."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from tests.api_client import sign_in
from tests.factories import PASSWORD, make_key
from tests.test_roles_matrix import ROUTES, TOKEN_ROUTES

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "[::1]",
    "testserver\t.evil.example",
    "xn--testservr-7fb",
    ".testserver",
    "",
    "a" * 300,
]
AWAY = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "http:///evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "https:evil.example",
    "//testserver@evil.example",
    "https://testserver.evil.example",
    "\x00//evil.example",
    " https://evil.example",
    "data:text/html,x",
]


@pytest.fixture
def client(database: None, vendor: Any, place: Any, people: Any) -> Client:
    """Return a browser in which an owner is signed in, with a key to look at."""
    make_key(vendor, place, people.owner)
    return sign_in(Client(enforce_csrf_checks=True, raise_request_exception=False), people.owner)


def state() -> list[tuple[str, int]]:
    """Return how many rows each table has but those of sessions, audit and counters."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~"
            " '^(audit_|keyvault_membersession|keyvault_tally|keyvault_cache|django_migrations)'"
        )
        names = sorted(row[0] for row in cursor.fetchall())
        found = []
        for name in names:
            cursor.execute(f'SELECT count(*) FROM "{name}"')
            found.append((name, cursor.fetchone()[0]))
    return found


def test_every_answer_carries_the_headers_that_keep_it_safe(client: Client) -> None:
    """WE-1, WE-2: walked over every route there is."""
    walked = 0
    for path in ROUTES:
        answer = client.get(path)
        walked += 1
        policy = answer.headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "object-src 'none'", "base-uri 'none'",
                     "frame-ancestors 'none'", "form-action 'self'"):  # fmt: skip
            assert part in policy, (path, part)
        assert "unsafe-" not in policy, path
        assert "http" not in policy, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Referrer-Policy"] == "same-origin", path
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", path
        assert answer.headers["X-Frame-Options"] == "DENY", path
        assert answer.status_code < 500, path
    assert walked > 90


def test_every_unsafe_call_of_a_session_needs_the_cross_site_token(client: Client) -> None:
    """WE-4: T:csrf_matrix. Without it nothing is done, whatever the route and the method."""
    before, walked = state(), 0
    for path in ROUTES:
        if TOKEN_ROUTES.match(path):
            continue
        for method in UNSAFE:
            answer = client.generic(method, path, b"{}", content_type="application/json")
            walked += 1
            # 400: the API looks at the shape of a request before at its session.
            assert answer.status_code in (400, 403, 404, 405, 415), (method, path, answer)
    assert state() == before
    assert walked > 350
    assert client.get("/").status_code == 200, "and the session is still there"


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_name_is_refused_and_not_repeated(client: Client, host: str) -> None:
    """WE-5, TM-16."""
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert not host or host[:20] not in answer.content.decode()
    assert "Location" not in answer.headers


@pytest.mark.parametrize("target", AWAY)
def test_no_sign_in_leads_away(client: Client, target: str) -> None:
    """WE-5: T:open_redirect_corpus."""
    form = {"login": "owner@example.com", "password": PASSWORD, "next": target}
    browser = Client()
    page = browser.get("/sign-in", {"next": target}).content.decode()
    assert f'href="{target}"' not in page
    answer = browser.post("/sign-in", form)
    assert answer.status_code == 302, answer.content.decode()
    assert re.fullmatch(r"/[\w/-]*", answer.headers["Location"]), answer.headers["Location"]


def test_cookies_are_for_this_host_alone_in_production(settings: Any) -> None:
    """WE-2: names, flags and HSTS follow from one switch."""
    import subprocess
    import sys

    from tests.guards import ROOT

    wanted = (
        "from keyvault import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME,"
        " s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY,"
        " s.SESSION_COOKIE_SAMESITE, s.SECURE_HSTS_SECONDS >= 31536000,"
        " s.SECURE_HSTS_INCLUDE_SUBDOMAINS)"
    )
    import os

    environment = {**os.environ, "INSECURE_HTTP": "false"}
    told = subprocess.run(
        [sys.executable, "-c", wanted], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert told.stdout.split() == [
        "__Host-session", "__Host-csrf", "True", "True", "True", "Lax", "True", "True",
    ], told.stderr  # fmt: skip


def test_no_route_takes_a_body_beyond_its_size(client: Client) -> None:
    """AC-10, TM-11: refused with words, wherever it is sent; nothing is done and nothing breaks."""
    token = client.cookies["keyvault_csrf"].value if "keyvault_csrf" in client.cookies else ""
    before, walked = state(), 0
    json_body = b'{"name": "' + b"a" * 300_000 + b'"}'
    form_body = b"name=" + b"a" * 300_000
    for path in ROUTES:
        api = path.startswith(("/api/", "/scim/"))
        for method in ("POST", "PATCH", "PUT", "DELETE"):
            answer = client.generic(
                method,
                path,
                json_body if api else form_body,
                content_type="application/json" if api else "application/x-www-form-urlencoded",
                headers={"X-CSRFToken": token},
            )
            walked += 1
            assert answer.status_code in (302, 400, 401, 403, 404, 405, 413, 415), (
                method,
                path,
                answer,
            )
    assert state() == before
    assert walked > 350


CELLS = [
    *(f"{sign}cmd|' /C calc'!A0" for sign in "=+-@"),
    *(f"{space}=1+1" for space in "\t\r\n \u00a0\u3000"),
    "\x00=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    '=HYPERLINK("https://evil.example","x")',
    '"=1+1',
    "'=1+1",
    ";=1+1",
    ",=1+1",
    "|calc",
    "%0A=1",
    "-2+3+cmd|' /C calc'!A0",
    "=IMPORTXML(CONCAT(1),2)",
]


@pytest.mark.parametrize("text", CELLS)
def test_no_cell_of_an_export_is_run_by_a_spreadsheet(text: str) -> None:
    """WE-6, B70: T:csv_injection_corpus; what a reader strips in front is looked behind."""
    import csv
    import io

    from keyvault.audit.export import safe_cell

    out = io.StringIO()
    csv.writer(out).writerow([safe_cell(text), "next"])
    (row,) = csv.reader(io.StringIO(out.getvalue()))
    assert row[1] == "next"
    seen = row[0].lstrip(" \u00a0\u3000\ufeff")
    assert not seen or seen[0] not in "=+-@\t\r\n\x00＝＋－＠|"


LINES = [
    "a\nb",
    "a\r\nb",
    "a\u2028b",
    "a\x85b",
    "a\x1b[2Jb",
    "a\x00b",
    "a\u202eb",
    '{"level": "x"}',
    "a\tb",
]


@pytest.mark.parametrize("text", LINES)
def test_no_text_begins_a_second_line_in_the_log(text: str) -> None:
    """LO-3, TM-30: a name with a line end, an escape or a turned direction stays inside its field."""
    import json
    import logging

    from keyvault.core.logging import json_formatter

    line = json_formatter().format(
        logging.makeLogRecord({"msg": "seen %s", "args": (text,), "name": "x", "who": text})
    )
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["who"] == text
