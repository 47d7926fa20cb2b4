"""What each page needs: who asks, answers to refusals, re-authentication and query texts."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from allauth.account.adapter import get_adapter
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from keyvault.access.authentication import can_prove, proved_lately
from keyvault.console.errors import problem
from keyvault.core.errors import Denied, KeyServiceError, NotFound
from keyvault.core.numbers import whole
from keyvault.models import Member

View = Callable[..., HttpResponse]


def current_member(request: HttpRequest) -> Member:
    """Return the person who is signed in; pages ask only after `page` has let them in."""
    return cast(Member, request.user)


def login_required_page(view: View) -> View:
    """Let signed-in people in, and answer a refusal with a page that says why."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        try:
            response = view(request, *args, **options)
        except KeyServiceError as error:
            response = problem(request, error)
        # After signing out, "back" must ask the server again.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    return answer


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the whole page there, also when only a part of it was asked for."""
    if request.headers.get("HX-Request"):
        shown = request.headers.get("HX-Current-URL", "/").split("://", 1)[-1]
        path = "/" + shown.partition("/")[2]
        return HttpResponseClientRedirect(redirect_to_login(path).url)
    return redirect_to_login(request.get_full_path())


def require_recent_auth(request: HttpRequest, back: str = "") -> None:
    """Send the person to prove again who they are, unless they did lately; then this goes on.

    With `back` (a page's name, or its address) it does not go on, but shows that page: what was sent
    holds a secret, and is kept nowhere meanwhile, not even in the session.
    """
    if proved_lately(request):
        return
    if not can_prove(current_member(request)):
        raise Denied(
            (
                "This needs a proof of who you are that is younger than five minutes. You have neither "
                "a password nor a passkey here: sign out, sign in again, and do it then. Nothing was "
                "changed."
            ),
            code="proof_required",
        )
    if not back:
        raise ReauthenticationRequired
    messages.info(
        request,
        "Confirm your identity, then submit the form again; it was not saved.",
    )
    page = back if back.startswith("/") else reverse(back)
    where = get_adapter().get_reauthentication_methods(current_member(request))[0]["url"]
    raise ImmediateHttpResponse(redirect(f"{where}?{urlencode({'next': page})}"))


def parse_id(text: str | None) -> int | None:
    """Return a row id from a URL's query, None when there is none; NotFound for nonsense."""
    if not text:
        return None
    found = whole(text)
    if found is None:
        raise NotFound("The address asks for something that is not a number.")
    return found


def query_text(request: HttpRequest, name: str, most: int = 100) -> str:
    """Return a text from the URL's query, without the characters that a database cannot hold."""
    return text_of(request.GET, name, most)


def text_of(said: QueryDict, name: str, most: int = 100) -> str:
    """Return a text from a query or form, without the characters that a database cannot hold."""
    return said.get(name, "").replace("\x00", "").strip()[:most]


def unstored(response: HttpResponse) -> HttpResponse:
    """Keep a page that shows a secret out of every cache, the browser's included."""
    response["Cache-Control"] = "no-store, private"
    response["Pragma"] = "no-cache"
    return response
