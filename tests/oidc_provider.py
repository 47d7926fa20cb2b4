"""A real OpenID Connect provider for tests: django-allauth's own, as a process of its own.

    python -m tests.oidc_provider FOLDER PORT REDIRECT_URI EMAIL=verified|unverified …

Each person signs in there with the password PASSWORD; the client's secret is CLIENT_SECRET.
"""

import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

CLIENT, CLIENT_SECRET, PASSWORD = "keyvault", "a-client-secret-for-tests", "open sesame for tests"


class Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def configure(folder: Path) -> None:
    """Set up Django for the provider alone; its own small database lives in the folder."""
    import django
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from django.conf import settings

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    settings.configure(
        SECRET_KEY="provider of tests",
        DEBUG=True,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.oidc_provider",
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "allauth.idp.oidc",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        ACCOUNT_LOGIN_METHODS={"email"},
        ACCOUNT_SIGNUP_FIELDS=["email*", "password1*"],
        ACCOUNT_EMAIL_VERIFICATION="none",
        IDP_OIDC_PRIVATE_KEY=pem.decode(),
        SESSION_COOKIE_NAME="provider_session",
        CSRF_COOKIE_NAME="provider_csrf",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def fill(redirect: str, people: list[str]) -> None:
    """Create the tables, the people and the one client."""
    from allauth.account.models import EmailAddress
    from allauth.idp.oidc.models import Client
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for one in people:
        email, _, kind = one.partition("=")
        user = User.objects.create_user(email, email, PASSWORD)
        EmailAddress.objects.create(
            user=user, email=email, verified=kind == "verified", primary=True
        )
    Client.objects.create(
        id=CLIENT,
        name="Keyvault",
        secret=make_password(CLIENT_SECRET),
        scopes="openid\nemail\nprofile",
        redirect_uris=redirect,
        skip_consent=True,
    )


urlpatterns: list[object] = []


def main() -> None:
    """Serve until ended."""
    folder, port, redirect, *people = sys.argv[1:]
    configure(Path(folder))
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path

    sys.modules["tests.oidc_provider"] = sys.modules["__main__"]
    urlpatterns.extend(
        [path("accounts/", include("allauth.account.urls")), path("", include("allauth.idp.urls"))]
    )
    fill(redirect, people)
    with make_server("127.0.0.1", int(port), get_wsgi_application(), handler_class=Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
