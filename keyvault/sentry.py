"""An error tracker that is told what broke and never a secret: off unless SENTRY_DSN is set.

Events carry neither variables of frames, nor bodies, headers, cookies or queries of requests, nor
breadcrumbs; whatever text is left has every known secret hidden. What cannot be cleaned is not sent.
"""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration

from keyvault.redaction import redact

_REQUEST = ("method", "url")
_DEEPEST = 12


def start(dsn: str, environment: str, transport: Any = None) -> None:
    """Send errors to `dsn` from now on; `transport` replaces the way there, for tests."""
    sentry_sdk.init(
        dsn=dsn,
        environment=environment or None,
        transport=transport,
        default_integrations=False,
        integrations=[DjangoIntegration(middleware_spans=False), CeleryIntegration()],
        include_local_variables=False,
        include_source_context=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=None,
        before_send=cleaned,
    )


def cleaned(event: Any, hint: Any = None) -> Any:  # noqa: ARG001 - the tracker's own signature
    """Return the event without what may hold a secret; None, which drops it, if that fails."""
    request = event.get("request") or {}
    event["request"] = {name: request[name] for name in _REQUEST if name in request}
    for name in ("breadcrumbs", "user", "extra", "modules"):
        event.pop(name, None)
    for thrown in (event.get("exception") or {}).get("values") or []:
        for frame in (thrown.get("stacktrace") or {}).get("frames") or []:
            frame.pop("vars", None)
    try:
        return _redacted(event, 0)
    except RecursionError:
        return None


def _redacted(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(name)): _redacted(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one, depth + 1) for one in value]
    return value
