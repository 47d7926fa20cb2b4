"""The HTTP session with which `secret_store` talks to Vault."""

from typing import Any

import requests
from django.conf import settings

from keyvault.audit.context import current
from keyvault.audit.tags import tag


def make() -> requests.Session:
    """Return a session that takes nothing from the environment and believes no odd answer."""
    session = requests.Session()
    # No proxy, no netrc, no CA bundle of the environment: only what our settings say.
    session.trust_env = False
    session.verify = settings.VAULT_CACERT or True
    session.hooks["response"].append(_refuse_odd_answers)
    session.auth = _tagged
    return session


def _tagged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Name our own request in each one to Vault, signed: its audit log and ours can be compared."""
    request.headers["X-Request-Id"] = tag(current().request_id)
    return request


def _refuse_odd_answers(response: requests.Response, *_: Any, **__: Any) -> None:
    """Take neither a redirect nor a proxy's page for Vault's word: hvac would call both a success."""
    kind = response.headers.get("Content-Type", "")
    if 300 <= response.status_code < 400:
        response.close()
        raise requests.TooManyRedirects("Vault answered with a redirect")
    if response.status_code == 200 and not kind.startswith("application/json"):
        response.close()
        raise requests.exceptions.InvalidJSONError("the answer is not Vault's")
