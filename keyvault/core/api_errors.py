"""One shape for every error of the API: {"code", "message", "details"}, no trace, no input."""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from keyvault.core.errors import BadInput, Denied, KeyServiceError, NotFound, Unavailable
from keyvault.core.json_bodies import shown
from keyvault.core.request_context import current

log = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)
_RETRY_AFTER_SECONDS = "5"


class _Refused(KeyServiceError):
    """An error of the framework under its own status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, code=code)
        self.status = status


def handle(exc: Exception, context: dict[str, Any]) -> Response:  # noqa: ARG001
    """Turn any error of an API view into an answer; what nobody foresaw is logged, not shown."""
    error = translate(exc)
    response = Response(shape(error), status=error.status, headers=_headers(error))
    challenge = getattr(exc, "auth_header", None)
    if challenge:
        response["WWW-Authenticate"] = challenge
    return response


def answer(error: KeyServiceError) -> JsonResponse:
    """Return the error as the answer of a plain view."""
    return JsonResponse(shape(error), status=error.status, headers=_headers(error))


def shape(error: KeyServiceError) -> dict[str, Any]:
    """Return the error as it is shown."""
    return {"code": error.code, "message": error.message, "details": error.details}


def translate(exc: Exception) -> KeyServiceError:
    """Return the error of our tree that says what `exc` means to a caller."""
    if isinstance(exc, KeyServiceError):
        return exc
    if isinstance(exc, exceptions.ValidationError):
        return _invalid(exc)
    if isinstance(exc, exceptions.APIException):
        return _framework(exc)
    if isinstance(exc, Http404):
        return NotFound("There is no such thing here.")
    if isinstance(exc, PermissionDenied):
        return Denied("You may not do this.")
    if isinstance(exc, SuspiciousOperation):
        return BadInput("The request is not one that can be answered.")
    if isinstance(exc, DATABASE_AWAY):
        log.error("database away", exc_info=exc)
        return Unavailable("The database cannot be reached now. Try again in a moment.")
    return unforeseen(exc)


def unforeseen(exc: BaseException) -> KeyServiceError:
    """Log an error that nobody foresaw; return what may be shown of it, a reference to the log."""
    reference = current().request_id
    log.error("unforeseen error in the API", exc_info=exc, extra={"request_id": reference})
    return KeyServiceError(
        f"Something went wrong on our side. Name the reference {reference} when you report it.",
        code="server_error",
        details={"reference": reference},
    )


def unknown_route(request: HttpRequest, **rest: str) -> JsonResponse:  # noqa: ARG001
    """Answer any address under /api/ that is none of ours."""
    return answer(NotFound("There is no such route. Lists and single things end with a slash."))


def _headers(error: KeyServiceError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if error.retryable:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return headers


def _framework(exc: exceptions.APIException) -> KeyServiceError:
    if isinstance(exc, exceptions.NotAuthenticated):
        return _Refused(exc.status_code, "not_signed_in", "Sign in first.")
    codes = exc.get_codes()
    code = codes if isinstance(codes, str) else exc.default_code
    return _Refused(exc.status_code, code, str(exc.detail))


def _invalid(exc: exceptions.ValidationError) -> BadInput:
    found = _flatten(exc.detail)
    text = " ".join(f"{shown(field)}: {message}" for field, message in found)
    return BadInput(
        f"Check {text} Nothing was changed.",
        code="invalid",
        details={"fields": sorted({shown(field) for field, _ in found})},
    )


def _flatten(detail: Any, field: str = "body") -> list[tuple[str, str]]:
    """Return (field, message) pairs; the innermost list belongs to the outermost field."""
    if isinstance(detail, dict):
        return [
            pair
            for name, inner in detail.items()
            for pair in _flatten(inner, name if field == "body" else field)
        ]
    if isinstance(detail, list):
        return [pair for inner in detail for pair in _flatten(inner, field)]
    if getattr(detail, "code", "") == "invalid_choice":
        return [(field, "This is not one of the possible values.")]
    return [(field, str(detail))]
