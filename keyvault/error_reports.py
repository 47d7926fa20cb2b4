"""What an error report may show: neither frame variables nor request bodies, headers or cookies."""

from collections.abc import ItemsView
from typing import Any

from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from keyvault.redaction import redact


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
