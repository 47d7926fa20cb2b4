"""Sign in, by password, passkey or single sign-on, and out again; each try is on record."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.views import LoginView
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.conf import settings
from django.contrib.auth.views import LogoutView
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from requests import RequestException

from keyvault.audit.actors import member_actor
from keyvault.audit.log import AuditUnavailable, record_now
from keyvault.audit.models import Action
from keyvault.console.errors import problem
from keyvault.core.errors import KeyServiceError, Unavailable
from keyvault.models import Member

log = logging.getLogger(__name__)
_UNWRITABLE = (
    "The database takes nothing now, so nobody can be signed in: look at its disk and its log. Nothing "
    "was lost."
)
# What reading an answer of another form than expected raises.
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError)


class SignIn(LoginView):
    """The sign-in page. An unknown address and a wrong password read and take the same."""

    template_name = "console/access/sign_in.html"

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        """Say so when the database takes nothing: tries could not be counted then."""
        try:
            return super().dispatch(request, *args, **options)
        except KeyServiceError as error:
            return problem(request, error)
        except AnyDatabaseError:
            log.exception("sign-in without the database")
            return problem(request, Unavailable(_UNWRITABLE))

    def form_invalid(self, form: Any) -> HttpResponse:
        """Say that it was wrong, with a status that programs understand."""
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **options: Any) -> dict[str, Any]:
        """Name single sign-on, where there is one."""
        sso = settings.OIDC_NAME if settings.OIDC_ISSUER else ""
        return {**super().get_context_data(**options), "sso": sso}


def asks_provider(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer with words when the provider of single sign-on is away, or says what makes no sense."""

    @wraps(view)
    def answer(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            return view(request, provider_id)
        except KeyServiceError as error:
            return problem(request, error)
        except (RequestException, OAuth2Error, *_NONSENSE) as error:
            log.warning("single sign-on failed", extra={"error": type(error).__name__})
            away = Unavailable(
                (
                    "Your sign-on provider gave no usable answer. Nobody was signed in. Try again in a "
                    "moment, or sign in with a passkey or a password."
                ),
                code="sso_unavailable",
            )
            return problem(request, away)

    return answer


@method_decorator(never_cache, name="dispatch")
class SignOut(LogoutView):
    """Ends the session; by POST only."""

    def post(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Record the sign-out and end the session."""
        if isinstance(request.user, Member):
            try:
                record_now(Action.MEMBER_SIGNED_OUT, member_actor(request.user), request.user)
            except AuditUnavailable:
                # It takes rights away; nobody is held in because it cannot be written down.
                # guard: nobody is held in
                log.error("signed out without an audit row", extra={"member": request.user.pk})
        return super().post(request, *args, **options)
