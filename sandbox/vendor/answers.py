"""Requests and answers as plain values, and the vendor's two error envelopes."""

import json
from dataclasses import dataclass, field
from typing import Any

MESSAGES = {
    "MISSING_AUTH": "Missing Authorization header",
    "INVALID_API_KEY": "Invalid API key",
    "EXPIRED_API_KEY": "API key has expired",
    "UNAUTHORIZED": "Invalid or revoked API key.",
    "KEY_NOT_FOUND": "There is no such API key.",
    "KEY_LIMIT_REACHED": "This account has reached its limit of API keys.",
}
HTML = "text/html; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One request, wholly read. Header names are in lower case; `path` is still percent-encoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)
    peer: str

    def json(self) -> dict[str, Any]:
        """Return the body, an object; ValueError when it is anything else."""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("The body must be a JSON object.")
        return value

    @property
    def bearer(self) -> str:
        """The token of the Authorization header; empty without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True)
class Answer:
    """One answer, and how it is sent: `pace` seconds a byte, `cut` for no answer at all.

    `length` is the Content-Length to declare when it is to differ from the body's own.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    pace: float = 0.0
    cut: bool = False
    length: int | None = None


def json_answer(status: int, value: Any) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


def error(envelope: str, status: int, code: str, message: str = "", **more: Any) -> Answer:
    """Answer with an error in the `flat` or the `nested` envelope; `more` stands beside the code."""
    if envelope == "nested" and code == "INVALID_API_KEY":
        code = "UNAUTHORIZED"
    text = message or MESSAGES[code]
    if envelope == "nested":
        inner = {"code": code, "message": text, **more}
        return json_answer(status, {"success": False, "error": inner})
    return json_answer(status, {"success": False, "error": text, "code": code, **more})
