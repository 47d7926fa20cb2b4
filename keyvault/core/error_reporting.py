"""What an error report may show: neither frame variables nor request bodies, headers or cookies."""

from collections.abc import ItemsView
from typing import Any

import sentry_sdk
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration

from keyvault.core.redaction import redact


class ReportFilter(SafeExceptionReporterFilter):
    """Error reports show no frame variables and no request headers or bodies at all."""

    def is_active(self, request: Any) -> bool:
        """Filter always, also with DEBUG on."""
        return True

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> ItemsView[str, Any]:
        """Return no variables: any frame may hold a secret."""
        return dict[str, Any]().items()

    def get_post_parameters(self, request: Any) -> dict[str, Any]:
        """Return no form fields: one of them may be a pasted key."""
        return {}

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        """Return the few request facts that cannot hold a credential."""
        names = ("REQUEST_METHOD", "PATH_INFO", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR")
        return {name: request.META[name] for name in names if name in request.META}

    def get_safe_cookies(self, request: Any) -> dict[str, Any]:
        """Return no cookies."""
        return {}

    def get_safe_settings(self) -> dict[str, Any]:
        """Return no settings."""
        return {}


class Reporter(ExceptionReporter):
    """Error reports as Django writes them, with every known secret in exception texts hidden."""

    def get_traceback_html(self) -> SafeString:
        """Return the HTML page, redacted."""
        return SafeString(redact(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        """Return the plain text, redacted."""
        return SafeString(redact(super().get_traceback_text()))


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
