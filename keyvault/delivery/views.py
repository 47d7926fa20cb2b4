"""The hot path: plain views for applications, which come with a service token and nothing else."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.csrf import csrf_exempt

from keyvault.core import api_errors
from keyvault.core.errors import KeyServiceError
from keyvault.delivery import fetch
from keyvault.delivery.fetch import Fetched
from keyvault.delivery.instances import HEADER
from keyvault.delivery.tokens import TokenRefused

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, str, P], HttpResponse]

_BEARER = re.compile(r"(?i)bearer +(\S+) *")


class _WrongMethod(KeyServiceError):
    """The route is known, but not with this method."""

    code, status = "method_not_allowed", 405

    def __init__(self, methods: Iterable[str]) -> None:
        self.allow = ", ".join(methods)
        super().__init__(f"This route answers to {self.allow} only.")


class _ErrorAnswers:
    """Gives every error of a plain view the one shape, those that nobody foresaw included."""

    def __init__(self, get_response: Callable[..., HttpResponse]) -> None:
        self.get_response = get_response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        """Return the answer that explains the error."""
        error = api_errors.translate(exception)
        response = api_errors.answer(error)
        if error.status == 401:
            given = "Authorization" in request.headers
            response["WWW-Authenticate"] = "Bearer" + (' error="invalid_token"' if given else "")
        if isinstance(error, _WrongMethod):
            response["Allow"] = error.allow
        return response


def token_route(**methods: Any) -> Callable[[View[P]], Callable[..., HttpResponseBase]]:
    """Make a view that is given the bearer token; keyword names are its methods, with their schema.

    A session cookie counts for nothing here, hence no cross-site check either.
    """

    def wrap(view: View[P]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method not in methods:
                raise _WrongMethod(methods)
            response = view(request, bearer(request), *args, **kwargs)
            response["Cache-Control"] = "no-store"
            return response

        route: Callable[..., HttpResponseBase] = csrf_exempt(
            decorator_from_middleware(_ErrorAnswers)(answer)
        )
        route.openapi = methods  # type: ignore[attr-defined]
        route.is_token_route = True  # type: ignore[attr-defined]
        return route

    return wrap


def bearer(request: HttpRequest) -> str:
    """Return the token of the Authorization header; TokenRefused without one."""
    found = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        raise TokenRefused
    return found[1]


def instance(request: HttpRequest) -> str:
    """Return which copy of a program says that it asks; empty when it does not say."""
    return request.headers.get(HEADER, "")


@token_route(
    GET={
        "summary": "Fetch the current secret of a key",
        "description": "Send the last ETag as If-None-Match; 304 says that it is still current.",
        "answer": {
            "key_id": "integer",
            "version": "integer",
            "version_id": "integer",
            "secret": "string",
            "fetched_at": "string",
        },
    }
)
def secret(request: HttpRequest, token: str, key_id: int) -> HttpResponse:
    """Give the current secret of one key."""
    fetched = fetch.fetch(
        token, key_id, request.headers.get("If-None-Match", ""), instance(request)
    )
    tag = fetch.etag(fetched.version)
    if fetched.secret is None:
        return HttpResponse(status=304, headers={"ETag": tag})
    return JsonResponse({**_told(fetched), "fetched_at": _now()}, headers={"ETag": tag})


@token_route(
    GET={
        "summary": "Fetch all current secrets of an application in an environment",
        "description": "Send the last ETag as If-None-Match; 304 says that nothing has changed.",
        "answer": {
            "application_id": "integer",
            "environment_id": "integer",
            "secrets": "array",
            "fetched_at": "string",
        },
    }
)
def secrets(
    request: HttpRequest, token: str, application_id: int, environment_id: int
) -> HttpResponse:
    """Give all current secrets of one application in one environment."""
    known = request.headers.get("If-None-Match", "")
    fetched, tag = fetch.fetch_all(token, application_id, environment_id, known, instance(request))
    if fetched is None:
        return HttpResponse(status=304, headers={"ETag": tag})
    told = {
        "application_id": application_id,
        "environment_id": environment_id,
        "secrets": [{**_told(one), "name": one.key.name} for one in fetched],
        "fetched_at": _now(),
    }
    return JsonResponse(told, headers={"ETag": tag})


def _told(fetched: Fetched) -> dict[str, Any]:
    assert fetched.secret is not None
    return {
        "key_id": fetched.key.pk,
        "version": fetched.version.number,
        "version_id": fetched.version.pk,
        "secret": fetched.secret.reveal(),
    }


def _now() -> str:
    return timezone.now().isoformat()
