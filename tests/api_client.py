"""Speak to the API as a person's browser or an application does."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver

LISTS = [
    "keys/",
    "applications/",
    "environments/",
    "accounts/",
    "tokens/",
    "consumers/",
    "rotations/",
    "tasks/",
    "audit/",
]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass
class Answer:
    """What came back: status, headers and the text of the body."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Return the error's code; fails unless the body has the one shape of errors."""
        assert set(self.json) == {"code", "message", "details"}, self.text
        return str(self.json["code"])


def sign_in(client: Client, member: Any, *, proved: bool = True) -> Client:
    """Begin a session as a sign-in does, without the half second that a password costs."""
    client.force_login(member)
    if proved:
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
        session["account_authentication_methods_user"] = str(member.pk)
        session.save()
    return client


class Api:
    """A caller: a signed-in member, the bearer of a token, or nobody."""

    def __init__(self, member: Any = None, token: str = "", **options: Any) -> None:
        self.client = Client(raise_request_exception=False, **options)
        self.token = token
        if member is not None:
            sign_in(self.client, member)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request to a path below /api/v1/ (or an absolute one)."""
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        response = self.client.generic(
            method,
            path if path.startswith("/") else f"/api/v1/{path}",
            data,
            content_type="application/json",
            headers=headers,
        )
        return Answer(response.status_code, dict(response.headers), response.content.decode())

    def get(self, path: str, **headers: str) -> Answer:
        """Read."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None) -> Answer:
        """Act."""
        return self.call("POST", path, {} if body is None else body)


def proof(secret: str, nonce: str, key: Any, version: int = 1) -> str:
    """Compute the proof as the description says, without any code of ours."""
    text = f"keyvault-ack:v1:{nonce}:{key.pk}:{version}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def acknowledge(app: Api, key: Any, version: int = 1, **changes: Any) -> Answer:
    """Ask for a nonce and acknowledge, with parts of the request changed."""
    nonce = app.get(f"keys/{key.pk}/acknowledge").json["nonce"]
    secret = changes.pop("secret", None) or app.get(f"keys/{key.pk}/secret").json["secret"]
    body = {"version": version, "nonce": nonce, "proof": proof(secret, nonce, key, version)}
    return app.post(f"keys/{key.pk}/acknowledge", {**body, **changes})


def new_key(place: Any, secret: Any, **changes: Any) -> dict[str, Any]:
    """Return what records a key in the place's automatic account."""
    return {
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
        "name": "fresh",
        "secret": secret,
        **changes,
    }


def routes() -> list[str]:
    """Return every path of the API, with 1 for each id."""
    from keyvault.api.urls import urlpatterns

    found = list(_walk("/api/", urlpatterns))
    assert len(found) > 25
    return found


def _walk(prefix: str, patterns: list[Any]) -> Iterator[str]:
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from _walk(prefix + str(one.pattern), one.url_patterns)
        elif isinstance(one, URLPattern) and "^" not in str(one.pattern):
            parts = (prefix + str(one.pattern)).split("<")
            yield parts[0] + "".join("1" + part.split(">", 1)[1] for part in parts[1:])


@contextmanager
def counting() -> Iterator[list[str]]:
    """Collect the SQL statements that the block sends, on every connection of the app."""
    statements: list[str] = []
    with ExitStack() as stack:
        captured = [
            stack.enter_context(CaptureQueriesContext(connections[alias]))
            for alias in ("default", "audit")
        ]
        yield statements
        for one in captured:
            statements.extend(query["sql"] for query in one.captured_queries)


@contextmanager
def broken_audit() -> Iterator[None]:
    """Take the right to append to the audit log from the app for a while."""
    role = settings.DATABASE_APP_ROLE
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"REVOKE EXECUTE ON FUNCTION audit_append(jsonb) FROM {role}")
    try:
        yield
    finally:
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"GRANT EXECUTE ON FUNCTION audit_append(jsonb) TO {role}")
