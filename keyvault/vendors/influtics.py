"""Influtics: keys are made and deleted in its dashboard; `GET /v1/account/usage` tells if one works.

Facts from the vendor's Authentication page and its published integration; where the two disagree
(flat and nested error envelopes, INVALID_API_KEY and UNAUTHORIZED), both are accepted.
"""

from typing import Any

from keyvault.core.redaction import one_line
from keyvault.core.secret import Secret
from keyvault.vendors.base import (
    CANNOT_TELL,
    REFUSED,
    VALID,
    CheckResult,
    Provider,
    VendorConnection,
    VendorError,
)
from keyvault.vendors.http import Answer, request
from keyvault.vendors.usage import used_of

REFUSING_CODES = frozenset({"INVALID_API_KEY", "EXPIRED_API_KEY", "UNAUTHORIZED"})
_KNOWN_CODES = REFUSING_CODES | {
    "MISSING_AUTH",
    "RATE_LIMITED",
    "PAID_PLAN_REQUIRED",
    "KEY_LIMIT_REACHED",
    "KEY_NOT_FOUND",
}
# A refusal comes with one of these; a server error or a proxy's page is no verdict on the key.
_REFUSING_STATUSES = frozenset({400, 401, 403})


class Influtics(Provider):
    """The vendor as documented: no key-management API, so people make and delete the keys."""

    code = "influtics"
    name = "Influtics"
    environment_variable = "INFLUTICS_API_KEY"
    shape = r"inf_[A-Za-z0-9_-]{16,}"
    env_names: tuple[str, ...] = ("Influtics",)
    create_steps = (
        "Sign in to the Influtics dashboard.",
        "Open Settings, then API.",
        "Choose “Generate New API Key” and copy the key that is shown.",
        "Paste it below. It is checked at once and goes straight into the vault.",
    )
    delete_steps = (
        "Sign in to the Influtics dashboard.",
        "Open Settings, then API.",
        "Find the old key by the last characters shown below and delete it.",
        "This task closes by itself as soon as Influtics refuses the old key.",
    )

    def check(self, account: VendorConnection, secret: Secret) -> CheckResult:
        """Ask for the account's usage with `secret`; costs no credits."""
        try:
            answer = request(
                "GET",
                account.base_url.rstrip("/") + "/v1/account/usage",
                bearer=secret,
                allow_loopback=account.allow_loopback,
                header=self.account_header,
            )
        except VendorError as error:
            return CheckResult(CANNOT_TELL, error.text, error.code, retry_after=error.retry_after)
        return judge(answer)


def judge(answer: Answer) -> CheckResult:
    """Return the verdict: valid or refused only where the vendor says so beyond doubt."""
    body = answer.body if isinstance(answer.body, dict) else {}
    summary = _summary(body)
    if answer.status == 200 and body.get("success") is True and summary is not None:
        return CheckResult(
            VALID,
            "The vendor accepts the key.",
            facts=_facts(summary),
            account=answer.told,
            usage=used_of(summary),
        )
    code, message = error_of(body)
    # guard: cannot tell is no refusal
    if (
        code in REFUSING_CODES
        and answer.status in _REFUSING_STATUSES
        and body.get("success") is False
    ):
        return CheckResult(REFUSED, f"{message or 'Refused'} ({code}).", code)
    return CheckResult(
        CANNOT_TELL, _puzzle(answer, code, message), code, retry_after=answer.retry_after
    )


def error_of(body: Any) -> tuple[str, str]:
    """Return code and redacted message from a flat or nested error envelope, else empty texts."""
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error")
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
    else:
        code, message = body.get("code"), error
    return _code(code), one_line(message, 200) if isinstance(message, str) else ""


def _code(code: Any) -> str:
    """Return the code; one that we know is never redacted, whatever secrets look like it."""
    if not isinstance(code, str):
        return ""
    return code if code in _KNOWN_CODES else one_line(code, 60)


def _summary(body: dict[str, Any]) -> dict[str, Any] | None:
    data = body.get("data")
    summary = data.get("summary") if isinstance(data, dict) else None
    return summary if isinstance(summary, dict) else None


def _facts(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what tells one account from another: the answer names no account id."""

    def plain(value: Any) -> Any:
        # It ends up in texts for people: neither long, nor odd, nor an echo of the key.
        return value if value is None or isinstance(value, int) else one_line(str(value), 60)

    def part(name: str, field: str) -> Any:
        value = summary.get(name)
        return plain(value.get(field)) if isinstance(value, dict) else None

    return {
        "plan": plain(summary.get("plan")),
        "video limit": part("videos", "limit"),
        "credit limit": part("credits", "total"),
    }


def _puzzle(answer: Answer, code: str, message: str) -> str:
    if 300 <= answer.status < 400:
        return "The vendor answers with a redirect: the account's base URL is probably wrong."
    if code == "MISSING_AUTH":
        return "The vendor says that no key arrived; this is not a verdict on the key."
    if answer.status == 429:
        return f"The vendor's allowance is used up: {message or 'rate limited'}"
    if not answer.is_json:
        return f"The answer (status {answer.status}) is not the vendor's JSON."
    return f"Status {answer.status}: {message or code or 'an answer of unknown shape'}"
