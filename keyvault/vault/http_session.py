"""The HTTP session with which `secret_store` talks to Vault."""

from typing import Any

import requests
from django.conf import settings

from keyvault.core.request_context import current, tag

_INDEX = "X-Vault-Index"
# The state of Vault's storage after our last write, where Vault tells it; one for this process.
_written: list[str] = []


class Behind(requests.RequestException):
    """A standby that does not have yet what we wrote (412)."""


def make() -> requests.Session:
    """Return a session that takes nothing from the environment and believes no odd answer.

    It knows of no write yet: an index of another cluster would be refused.
    """
    _written.clear()
    session = requests.Session()
    # No proxy, no netrc, no CA bundle of the environment: only what our settings say.
    session.trust_env = False
    session.verify = settings.VAULT_CACERT or True
    session.hooks["response"] += [_refuse_odd_answers, _note_index]
    session.auth = _tagged
    return session


def _tagged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Name our own request in each one to Vault, signed: its audit log and ours can be compared."""
    request.headers["X-Request-Id"] = tag(current().request_id)
    if _written:
        # A standby that is behind what we wrote refuses with 412 instead of answering with the past.
        request.headers[_INDEX] = _written[0]
    return request


def _note_index(response: requests.Response, *_: Any, **__: Any) -> None:
    index = response.headers.get(_INDEX)
    if index and response.request.method not in ("GET", "HEAD", "LIST"):
        _written[:] = [index]


def _refuse_odd_answers(response: requests.Response, *_: Any, **__: Any) -> None:
    """Take neither a redirect nor a proxy's page for Vault's word: hvac would call both a success."""
    kind = response.headers.get("Content-Type", "")
    if response.status_code == 412:
        response.close()
        raise Behind("Vault answered that it is behind")
    if 300 <= response.status_code < 400:
        response.close()
        raise requests.TooManyRedirects("Vault answered with a redirect")
    if response.status_code == 200 and not kind.startswith("application/json"):
        response.close()
        raise requests.exceptions.InvalidJSONError("the answer is not Vault's")
