"""Give every request an id, let audit rows know where it came from, and keep sessions to their rules."""

import uuid
from collections.abc import Callable
from functools import lru_cache

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import Resolver404, ResolverMatch, resolve

from keyvault import sessions
from keyvault.audit.context import acting
from keyvault.client_address import client_address
from keyvault.models import Member
from keyvault.signing_in import needs_second_factor

_NOTHING_RUNS = (
    "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
Answer = Callable[[HttpRequest], HttpResponse]
# What a person who must still set up a second factor may reach.
_OPEN_WITHOUT_FACTOR = ("/account/", "/sign-in", "/sign-out", "/static/", "/health/", "/join")


class RequestContextMiddleware:
    """Names each request; the id goes into audit rows and the `X-Request-Id` answer header."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request within its audit context."""
        request_id = uuid.uuid4().hex
        with acting(request_id, client_address(request)):
            response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response


class ProgramsMiddleware:
    """Answers programs with a service token before anything is asked that concerns people alone.

    Sessions, forms, messages and sign-in mean nothing to them, and cost more than the answer.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Call the route if it is one for service tokens; else let the request through."""
        found = _token_route(request.path_info)
        if found is None:
            return self.get_response(request)
        request.get_host()  # refuses a host that is none of ours, as for pages
        response: HttpResponse = found.func(request, *found.args, **found.kwargs)
        response["Content-Length"] = str(len(response.content))
        response["Content-Security-Policy"] = _NOTHING_RUNS
        response["X-Frame-Options"] = "DENY"
        return response


@lru_cache(maxsize=4096)
def _token_route(path: str) -> ResolverMatch | None:
    if not path.startswith("/api/v1/"):
        return None
    try:
        found = resolve(path)
    except Resolver404:
        return None
    return found if getattr(found.func, "is_token_route", False) else None


class SessionRulesMiddleware:
    """Ends sessions that were idle too long, and asks for a second factor where one is required."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let the request through, or send its person to sign in or to set up a factor."""
        if isinstance(request.user, Member):
            if sessions.is_over(request):
                logout(request)
            elif not request.path.startswith(_OPEN_WITHOUT_FACTOR) and needs_second_factor(
                request, request.user
            ):
                return _factor_due(request)
            else:
                sessions.touch(request)
        response = self.get_response(request)
        if request.path.startswith("/account/"):
            # Seeds and recovery codes are shown there.
            response["Cache-Control"] = "no-store, private"
        return response


def _factor_due(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        said = {
            "code": "second_factor_required",
            "message": "Set up a second factor in the console first. Nothing was done.",
            "details": {},
        }
        return JsonResponse(said, status=403)
    return redirect("account")
