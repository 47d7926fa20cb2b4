"""How people prove who they are: what django-allauth asks of us, with every try on record.

Locked out are an account and a source each by itself, in Postgres, before the password is looked at.
Unknown, inactive and known addresses read, count and take the same.
"""

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.authentication import get_authentication_records
from allauth.account.forms import LoginForm
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib.auth import authenticate as check_credentials
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from keyvault.access import known_devices, rate_limits, sessions
from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import AuditUnavailable, record, record_now
from keyvault.audit.models import Action
from keyvault.core.encryption import sealer
from keyvault.core.errors import Denied
from keyvault.core.request_context import current
from keyvault.models import Member
from keyvault.models.people import RateLimitCounter

NOBODY = Actor("anonymous", "", "unknown person")
# Ten wrong passwords for one account, or thirty from one source, close it for a quarter of an hour:
# to strangers, not to who comes in a browser or from an address that is known for theirs.
TRIES_PER_ACCOUNT, TRIES_PER_SOURCE, WINDOW = 10, 30, 900

_WRONG = "Address and password do not match a member. Passwords are case-sensitive."
_LOCKED = (
    "Too many tries. Wait a quarter of an hour, sign in with a passkey, or use a browser in which you "
    "signed in before."
)


class AccountAdapter(DefaultAccountAdapter):
    """Passwords, sessions and what is told about them."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _WRONG,
        "too_many_login_attempts": _LOCKED,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """People come by an owner's invitation only."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:  # noqa: ARG002
        """Return the address that the audit log records too."""
        return current().source or "unix"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Member | None:
        """Return the member whose address and password these are, unless there were too many tries."""
        typed = str(credentials.get("email", "")).strip().lower()
        known = _known(request, typed)
        _count_try(typed, known)
        member = check_credentials(request, **credentials)
        # An inactive member's right password is as good as a wrong one, and reads so.
        AuthenticationBackend.unstash_authenticated_user()
        if not isinstance(member, Member):
            _record_failure(Member.objects.filter(email__iexact=typed).first())
            return None
        _was_good(typed, known)
        return member

    def reauthenticate(self, user: Any, password: str) -> bool:
        """Return whether this is the member's own password; tries count as at the sign-in."""
        return prove_by_password(user, password)

    def login(self, request: HttpRequest, user: Any) -> None:
        """Record the sign-in, then begin the session under a new key."""
        how = _how(request, user)
        try:
            record_now(Action.MEMBER_SIGNED_IN, member_actor(user), user, how=how)
            unrecorded = ""
        except AuditUnavailable:
            # Who must mend it may look; the session can change nothing until this is on record.
            # guard: a sign-in is recorded late
            unrecorded = how or "unknown"
        super().login(request, user)
        sessions.begin(request, unrecorded)
        known_devices.remember_device(request, user)

    def set_password(self, user: Any, password: str) -> None:
        """Change the password; whoever was signed in with the old one is signed out."""
        with transaction.atomic():
            super().set_password(user, password)
            record(Action.MEMBER_PASSWORD_CHANGED, member_actor(user), user)
            sessions.end(member_actor(user), user)

    def add_message(self, request: HttpRequest, level: int, *args: Any, **options: Any) -> None:
        """Say nothing at sign-in and sign-out: the page shows it."""
        template = options.get("message_template") or (args[0] if args else "")
        if template not in ("account/messages/logged_in.txt", "account/messages/logged_out.txt"):
            super().add_message(request, level, *args, **options)

    def send_notification_mail(self, *args: Any, **options: Any) -> None:
        """Send nothing: the audit log tells it."""


class MFAAdapter(DefaultMFAAdapter):
    """Seeds and recovery codes are encrypted under a key outside the database."""

    def encrypt(self, text: str) -> str:
        """Return what may stand in the database."""
        return sealer("authenticator").encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the seed again."""
        return sealer("authenticator").decrypt(encrypted_text.encode()).decode()

    def get_totp_issuer(self) -> str:
        """Return the name that an authenticator app shows."""
        return "Keyvault"

    def build_totp_svg(self, url: str) -> str:
        """Return the code as SVG that can stand in a page."""
        return str(super().build_totp_svg(url)).partition("?>")[2].strip()


class OtherAccountAdapter(DefaultSocialAccountAdapter):
    """Single sign-on opens the door to members only; it makes none."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:  # noqa: ARG002
        """Whom no owner invited stays outside."""
        record_now(Action.MEMBER_SIGN_IN_FAILED, NOBODY, outcome="denied", reason="not a member")
        return False

    def get_requests_session(self) -> Any:
        """Return a session that takes neither proxies nor passwords from the environment."""
        session = super().get_requests_session()
        session.trust_env = False
        return session


class SignInForm(LoginForm):
    """Address and password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["login"].label = "E-mail"
        self.fields["login"].widget.attrs["autocomplete"] = "username"


class CodeForm(AuthenticateForm):
    """The second step of a sign-in, with wrong codes on record."""

    def clean_code(self) -> str:
        """Return the code if it is right and was not used before."""
        return _checked(super().clean_code, self.user)


class ProofForm(ReauthenticateForm):
    """A code instead of the password, to prove again who one is."""

    def clean_code(self) -> str:
        """Return the code if it is right and was not used before."""
        return _checked(super().clean_code, self.user)


def _checked(clean: Any, member: Member) -> str:
    try:
        return str(clean())
    except ValidationError:
        _record_failure(member, "wrong code")
        raise


def prove_by_password(member: Member, password: str) -> bool:
    """Return whether this is the member's password; Denied after too many wrong ones."""
    # Whoever asks has a session: strangers' wrong passwords are none of these.
    mine = str(member.pk)
    if rate_limits.count_attempt("proof", mine, WINDOW) > TRIES_PER_ACCOUNT:
        raise Denied(f"{_LOCKED} Nothing was done.", code="locked_out")
    if not (password and member.check_password(password)):
        _record_failure(member, "wrong password")
        return False
    rate_limits.clear_attempts("proof", mine)
    return True


def proved_lately(request: HttpRequest) -> bool:
    """Return whether the person proved within the last five minutes who they are."""
    records = get_authentication_records(request, request.user)
    last = max((float(one.get("at", 0)) for one in records), default=0.0)
    return 0 <= timezone.now().timestamp() - last < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def can_prove(member: Member) -> bool:
    """Return whether the member has something to prove with, beside signing in anew elsewhere."""
    return member.has_usable_password() or Authenticator.objects.filter(user=member).exists()


def has_second_factor(request: HttpRequest, member: Member) -> bool:
    """Return whether the member has one, or came by single sign-on, where that is its provider's."""
    records = get_authentication_records(request, member)
    if any(one.get("method") == "socialaccount" for one in records):
        return True
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    return Authenticator.objects.filter(user=member, type__in=kinds).exists()


def needs_second_factor(request: HttpRequest, member: Member) -> bool:
    """Return whether the settings ask for a second factor that this member has not set up."""
    return bool(settings.REQUIRE_MFA) and not has_second_factor(request, member)


def _known(request: HttpRequest, typed: str) -> str:
    """Return by what the person is known here: a browser of theirs, or the address of a live session."""
    member = Member.objects.filter(email__iexact=typed).first()
    # guard: strangers keep nobody out of their browser
    device = known_devices.device_of(request, member)
    if device or member is None:
        return device
    here = rate_limits.network_of(current().source)
    mine = sessions.live(member).values_list("source", flat=True)
    return here if here and here in {rate_limits.network_of(one) for one in mine[:50]} else ""


def _count_try(typed: str, known: str) -> None:
    """Count before looking: fifty at once are fifty. One row tells of a lock, not one a try.

    Whoever is known is counted apart: wrong passwords from elsewhere must not keep them out.
    """
    source = rate_limits.network_of(current().source)
    if known:
        # guard: guesses in a known browser are bounded
        by_account = rate_limits.count_attempt("sign-in known", f"{typed} {known}", WINDOW)
    else:
        by_account = rate_limits.count_attempt("sign-in account", typed, WINDOW)
    by_source = (
        0
        if known and known != source
        else rate_limits.count_attempt("sign-in source", source, WINDOW)
    )
    # guard: lock of an account
    if by_account <= TRIES_PER_ACCOUNT and by_source <= TRIES_PER_SOURCE:
        return
    if by_account == TRIES_PER_ACCOUNT + 1 or by_source == TRIES_PER_SOURCE + 1:
        member = Member.objects.filter(email__iexact=typed).first()
        which = "account" if by_account > TRIES_PER_ACCOUNT else "source"
        record_now(Action.MEMBER_LOCKED_OUT, NOBODY, member, outcome="denied", reason=which)
    raise ValidationError(_LOCKED, code="too_many_login_attempts")


def locked_out() -> list[Member]:
    """Return the members whose accounts wrong passwords have closed to strangers just now."""
    since = timezone.now() - timedelta(seconds=WINDOW)
    closed = set(
        RateLimitCounter.objects.filter(
            what="sign-in account", count__gt=TRIES_PER_ACCOUNT, began_at__gt=since
        ).values_list("who", flat=True)[:1000]
    )
    if not closed:
        return []
    members = Member.objects.filter(is_active=True)
    return [
        one for one in members.iterator() if rate_limits.subject_digest(one.email.lower()) in closed
    ]


def _was_good(typed: str, known: str) -> None:
    if known:
        rate_limits.clear_attempts("sign-in known", f"{typed} {known}")
    else:
        rate_limits.clear_attempts("sign-in account", typed)
    if known and known != rate_limits.network_of(current().source):
        return
    rate_limits.return_attempt("sign-in source", rate_limits.network_of(current().source))


def _record_failure(member: Member | None, reason: str = "") -> None:
    record_now(Action.MEMBER_SIGN_IN_FAILED, NOBODY, member, outcome="denied", reason=reason)


def _how(request: HttpRequest, member: Member) -> str:
    records = get_authentication_records(request, member)
    return ", ".join(str(one.get("type") or one.get("method")) for one in records)
