"""Sign in with an e-mail address and a password, and out again; each try is on record."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from keyvault.audit.log import Actor, member_actor, record_now
from keyvault.audit.models import Action
from keyvault.errors import KeyServiceError
from keyvault.forms import SignInForm
from keyvault.models import Member
from keyvault.views.errors import problem


class SignIn(LoginView):
    """The sign-in page. An unknown address and a wrong password read and take the same."""

    template_name = "keyvault/sign_in.html"
    authentication_form = SignInForm

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        """Let nobody in while the audit log cannot be written."""
        try:
            return super().dispatch(request, *args, **options)
        except KeyServiceError as error:
            return problem(request, error)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Record the sign-in, then begin the session."""
        member = form.get_user()
        record_now(Action.MEMBER_SIGNED_IN, member_actor(member), member)
        return super().form_valid(form)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Record the try; what was typed is not, since it may be a password in the wrong field."""
        member = Member.objects.filter(username=form.cleaned_data.get("username", "")).first()
        record_now(
            Action.MEMBER_SIGN_IN_FAILED,
            Actor("anonymous", "", "unknown person"),
            member,
            outcome="denied",
        )
        return self.render_to_response(self.get_context_data(form=form), status=400)


@method_decorator(never_cache, name="dispatch")
class SignOut(LogoutView):
    """Ends the session; by POST only."""

    def post(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Record the sign-out and end the session."""
        if isinstance(request.user, Member):
            record_now(Action.MEMBER_SIGNED_OUT, member_actor(request.user), request.user)
        return super().post(request, *args, **options)
