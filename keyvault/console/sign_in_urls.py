"""Where people prove who they are. Only the routes that this service offers: nobody signs up here."""

from allauth.account import views as account
from allauth.mfa.base import urls as mfa_base
from allauth.mfa.recovery_codes import urls as mfa_recovery
from allauth.mfa.totp import urls as mfa_totp
from allauth.mfa.webauthn import urls as mfa_webauthn
from allauth.socialaccount import views as social
from allauth.socialaccount.providers.openid_connect import views as openid
from django.urls import URLPattern, URLResolver, include, path

from keyvault.console import accept_invitation, sign_in
from keyvault.console import profile as own

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in", sign_in.SignIn.as_view(), name="sign-in"),
    path("sign-in", sign_in.SignIn.as_view(), name="account_login"),
    path("sign-out", sign_in.SignOut.as_view(), name="sign-out"),
    path("sign-out", sign_in.SignOut.as_view(), name="account_logout"),
    path("join", accept_invitation.join, name="join"),
    path("account/", own.show, name="account"),
    path("account/", own.show, name="account_inactive"),
    path("account/sessions/end", own.end_sessions, name="sessions-end"),
    path("account/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", account.password_change, name="account_change_password"),
    path("account/password/set/", account.password_set, name="account_set_password"),
    path("account/2fa/", include(mfa_base)),
    path("account/2fa/totp/", include(mfa_totp)),
    path("account/2fa/recovery-codes/", include(mfa_recovery)),
    path("account/2fa/webauthn/", include(mfa_webauthn)),
    path("account/sso/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/sso/error/", social.login_error, name="socialaccount_login_error"),
    path("account/sso/closed/", social.signup, name="socialaccount_signup"),
    path(
        "account/<slug:provider_id>/login/",
        sign_in.asks_provider(openid.login),
        name="openid_connect_login",
    ),
    path(
        "account/<slug:provider_id>/callback/",
        sign_in.asks_provider(openid.callback),
        name="openid_connect_callback",
    ),
]
