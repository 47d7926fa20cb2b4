"""Give every request an id, let audit rows know where it came from, and keep sessions to their rules."""

import uuid
from collections.abc import Callable
from functools import lru_cache

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import Resolver404, ResolverMatch, resolve

from keyvault.access import known_devices, sessions
from keyvault.access.authentication import needs_second_factor
from keyvault.audit.log import AuditUnavailable
from keyvault.console.errors import problem, wrong_method
from keyvault.core.client_ip import client_address
from keyvault.core.request_context import acting
from keyvault.models import Member

_NOTHING_RUNS = (
    "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
_FOR_PROGRAMS = ("/api/", "/scim/", "/health/", "/metrics")
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


class PageMethodsMiddleware:
    """Answers pages to HEAD like to GET, and leads who opens a form's address to its page.

    Such an address stands in the browser's bar after an error in the form; opened again, it would
    be an empty page. Routes of the API say 405 in their own way.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer; a body that HEAD asked for none of is left out by the server."""
        if request.path_info.startswith(_FOR_PROGRAMS):
            return self.get_response(request)
        asked = request.method
        if asked == "HEAD":
            # guard: pages answer HEAD
            request.method = "GET"
        response = self.get_response(request)
        # guard: a form's address leads to its page
        if response.status_code == 405:
            response = _other_method(request, response)
        if asked == "HEAD" and not response.streaming:
            response["Content-Length"] = str(len(response.content))
            response.content = b""
        return response


def _other_method(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Lead to the page above that there is; for other methods say what is wrong."""
    if request.method != "GET":
        page = wrong_method(request)
        page["Allow"] = response["Allow"]
        return page
    parts = request.path_info.strip("/").split("/")
    above = ["/" + "".join(f"{one}/" for one in parts[:end]) for end in range(len(parts))]
    there = next(path for path in reversed(above) if _is_page(path))
    return redirect(there) if request.user.is_authenticated else redirect_to_login(there)


def _is_page(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


class SessionRulesMiddleware:
    """Ends sessions that were idle too long, and asks for a second factor where one is required."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let the request through, or send its person to sign in or to set up a factor."""
        if isinstance(request.user, Member):
            # guard: idle session
            if sessions.is_over(request):
                logout(request)
            elif not request.path.startswith(_OPEN_WITHOUT_FACTOR) and needs_second_factor(
                request, request.user
            ):
                return _factor_due(request)
            # guard: an unrecorded sign-in only looks
            elif sessions.only_looks(request, request.user) and _changes(request):
                return _not_on_record(request)
            else:
                sessions.touch(request)
        response = self.get_response(request)
        known_devices.add_cookie(request, response)
        if request.path.startswith("/account/"):
            # Seeds and recovery codes are shown there.
            response["Cache-Control"] = "no-store, private"
        return response


def _changes(request: HttpRequest) -> bool:
    return request.method not in ("GET", "HEAD", "OPTIONS") and request.path != "/sign-out"


def _not_on_record(request: HttpRequest) -> HttpResponse:
    """Refuse to change anything in a session whose sign-in could not be written down."""
    error = AuditUnavailable(
        "The audit log cannot be written, so nothing was done: you can look and sign out. Look at "
        "the database: its disk, its log, and the rights of this service's role."
    )
    if request.path.startswith("/api/"):
        said = {"code": error.code, "message": error.message, "details": {}}
        return JsonResponse(said, status=error.status)
    return problem(request, error)


def _factor_due(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        said = {
            "code": "second_factor_required",
            "message": "Set up a second factor in the console first. Nothing was done.",
            "details": {},
        }
        return JsonResponse(said, status=403)
    return redirect("account")
