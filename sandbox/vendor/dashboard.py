"""The vendor's dashboard, where people make and delete keys: sign in, Settings → API.

For browser tests and scripted form posts; no JavaScript. Cookie `sandbox_vendor_session`.

    GET  /                                  form `sign-in`: fields #email, #password, button “Sign in”
    POST /sign-in (email, password)         303 to /settings/api, or 401 with #problem
    GET  /settings/api                      form `generate`: field #name (optional), button “Generate New
                                            API Key” (#generate-key); list #keys with a row each
                                            (#row-<key id>), masked, button “Delete” (#delete-<key id>)
    POST /settings/api/keys (name)          303 to /settings/api, which shows the secret once, in #new-key
    GET  /settings/api/keys/<id>/delete     asks again: button “Delete key” (#confirm-delete)
    POST /settings/api/keys/<id>/delete     303 to /settings/api with #notice
    POST /sign-out                          303 to /
"""

import hmac
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from sandbox.vendor import keys, pages
from sandbox.vendor.answers import HTML, Answer, Request
from sandbox.vendor.state import Account, Key, State

COOKIE = "sandbox_vendor_session"
SETTINGS = "/settings/api"
LONGEST_NAME = 100
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass
class Session:
    """A signed-in person; what the next page is to show once."""

    account_id: str
    new_secret: str = ""
    notice: str = ""
    problem: str = ""


class Sessions:
    """The sessions, by cookie; they end with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def open(self, account_id: str) -> str:
        """Begin a session and return its cookie."""
        cookie = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[cookie] = Session(account_id)
        return cookie

    def find(self, request: Request) -> Session | None:
        """Return the session of the request's cookie."""
        with self._lock:
            return self._sessions.get(_cookie(request))

    def close(self, request: Request) -> None:
        """End the session of the request's cookie."""
        with self._lock:
            self._sessions.pop(_cookie(request), None)


def answer(state: State, sessions: Sessions, request: Request) -> Answer:
    """Answer one request for a page."""
    if (request.method, request.path) == ("GET", "/style.css"):
        return Answer(200, pages.STYLE.encode(), "text/css; charset=utf-8")
    if (request.method, request.path) == ("POST", "/sign-in"):
        return _sign_in(state, sessions, request)
    session = sessions.find(request)
    if (request.method, request.path) == ("GET", "/"):
        return _see_other(SETTINGS) if session else _page(200, pages.sign_in())
    if session is None:
        known = request.path.startswith(SETTINGS) or request.path == "/sign-out"
        return _see_other("/") if known else _page(404, pages.not_found())
    if (request.method, request.path) == ("POST", "/sign-out"):
        sessions.close(request)
        return _see_other("/")
    with state.lock:
        return _signed_in(state, session, request)


def _signed_in(state: State, session: Session, request: Request) -> Answer:
    for method, pattern, act in _ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match and method == request.method:
            return act(state, session, request, *match.groups())
    return _page(404, pages.not_found())


def _sign_in(state: State, sessions: Sessions, request: Request) -> Answer:
    form = _form(request)
    email, password = form.get("email", "").strip().lower(), form.get("password", "")
    with state.lock:
        accounts = list(state.accounts.values())
    for account in accounts:
        right = hmac.compare_digest(account.password.encode(), password.encode())
        if account.email == email and right:
            cookie = f"{COOKIE}={sessions.open(account.id)}; Path=/; HttpOnly; SameSite=Lax"
            return _see_other(SETTINGS, {"Set-Cookie": cookie})
    return _page(401, pages.sign_in(email, "The e-mail address or the password is wrong."))


def _settings(state: State, session: Session, _request: Request) -> Answer:
    account = state.accounts[session.account_id]
    page = pages.settings(
        account, keys.present(state, account), session.new_secret, session.notice, session.problem
    )
    session.new_secret = session.notice = session.problem = ""
    return _page(200, page)


def _generate(state: State, session: Session, request: Request) -> Answer:
    account = state.accounts[session.account_id]
    name = _form(request).get("name", "").strip()[:LONGEST_NAME]
    try:
        key = keys.make(state, account, name)
    except keys.LimitReached:
        session.problem = "This account has reached its limit of API keys. Delete one first."
        _note(state, request, "dashboard_create", account, None, "limit_reached")
        return _see_other(SETTINGS)
    session.new_secret = key.secret
    _note(state, request, "dashboard_create", account, key, "created")
    return _see_other(SETTINGS)


def _confirm(state: State, session: Session, _request: Request, key_id: str) -> Answer:
    key = _own_key(state, session, key_id)
    return _page(200, pages.confirm(key)) if key else _page(404, pages.not_found())


def _delete(state: State, session: Session, request: Request, key_id: str) -> Answer:
    account, key = state.accounts[session.account_id], _own_key(state, session, key_id)
    if key is None:
        _note(state, request, "dashboard_delete", account, None, "not_found")
        return _page(404, pages.not_found())
    keys.delete(state, key)
    session.notice = f"The key ending in {key.secret[-4:]} was deleted."
    _note(state, request, "dashboard_delete", account, key, "deleted")
    return _see_other(SETTINGS)


_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", SETTINGS, _settings),
    ("POST", SETTINGS + "/keys", _generate),
    ("GET", SETTINGS + "/keys/([^/]+)/delete", _confirm),
    ("POST", SETTINGS + "/keys/([^/]+)/delete", _delete),
)


def _own_key(state: State, session: Session, key_id: str) -> Key | None:
    key = state.keys.get(key_id)
    mine = key is not None and key.account == session.account_id and key.deleted_at is None
    return key if mine else None


def _note(
    state: State, request: Request, route: str, account: Account, key: Key | None, outcome: str
) -> None:
    state.note(
        "call",
        account=account.id,
        route=route,
        method=request.method,
        key=key.id if key else None,
        status=404 if outcome == "not_found" else 303,
        outcome=outcome,
        label=key.label if key else None,
    )


def _form(request: Request) -> dict[str, str]:
    text = request.body.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True))


def _cookie(request: Request) -> str:
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _page(status: int, page: str) -> Answer:
    return Answer(status, page.encode(), HTML, _HEADERS)


def _see_other(location: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(303, b"", HTML, {**_HEADERS, **(headers or {}), "Location": location})
