"""All settings, from the environment only; README lists each one, and a test holds it to that."""

import sys
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from kombu import Queue
from kombu.common import Broadcast

from keyvault.core.env import database, mail_server, proxies, secret

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = secret("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
BASE_URL = env.str("BASE_URL", default="").rstrip("/")
# For a sandbox on loopback only: cookies without Secure, and vendors and webhooks on 127.0.0.1.
INSECURE_HTTP = env.bool("INSECURE_HTTP", default=False)
ALLOW_LOOPBACK_TARGETS = env.bool("ALLOW_LOOPBACK_TARGETS", default=False)

# Keys outside the database: whoever steals a dump can neither match secrets nor forge tokens.
FINGERPRINT_KEY = secret("FINGERPRINT_KEY")
TOKEN_PEPPER = secret("TOKEN_PEPPER")
# Signs the audit log's checkpoints: 32 random bytes in base64. Only the worker needs it.
AUDIT_SIGNING_KEY = secret("AUDIT_SIGNING_KEY", default="")
# Or a key of Vault's transit engine that signs in its place, as mount/name.
AUDIT_TRANSIT_KEY = env.str("AUDIT_TRANSIT_KEY", default="").strip("/")
AUDIT_EXPORT_DIR = env.str("AUDIT_EXPORT_DIR", default="")
# Other places that each signed checkpoint is sent to: host:port of a syslog server, an https address.
AUDIT_SYSLOG = env.str("AUDIT_SYSLOG", default="")
AUDIT_WEBHOOK_URL = env.str("AUDIT_WEBHOOK_URL", default="")

VAULT_ADDR = env.str("VAULT_ADDR", default="")
VAULT_MOUNT = env.str("VAULT_MOUNT", default="keyvault")
VAULT_NAMESPACE = env.str("VAULT_NAMESPACE", default="").strip("/")
VAULT_CACERT = env.str("VAULT_CACERT", default="")
# Vault's own audit log, where this process can read it: compared with ours each night.
VAULT_AUDIT_LOG = env.str("VAULT_AUDIT_LOG", default="")
VAULT_ROLE_ID = env.str("VAULT_ROLE_ID", default="")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "drf_spectacular",
    "keyvault.apps.KeyVaultConfig",
    "keyvault.audit.apps.AuditConfig",
    "rotation.apps.RotationConfig",
]

MIDDLEWARE = [
    "keyvault.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "keyvault.middleware.ProgramsMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "keyvault.middleware.SessionRulesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "keyvault.middleware.PageMethodsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "keyvault.urls"
WSGI_APPLICATION = "keyvault.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Databases: the app's role cannot migrate, and cannot touch the audit table but to append. ---

DATABASES = {
    "default": database("DATABASE_URL"),
    "audit": database("DATABASE_URL"),
}
if env.str("DATABASE_OWNER_URL", default="") or env.str("DATABASE_OWNER_URL_FILE", default=""):
    DATABASES["owner"] = database("DATABASE_OWNER_URL")
DATABASE_APP_ROLE = DATABASES["default"]["USER"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Tasks: a message is only a nudge with an id; the reasons stand in THREAT_MODEL and README. ---

CELERY_BROKER_URL = secret("CELERY_BROKER_URL")
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = "UTC"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 45
CELERY_TASK_TIME_LIMIT = 60
CELERY_VISIBILITY_TIMEOUT = 300
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 200
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = env.float("WORKER_SHUTDOWN_SECONDS", default=70.0)
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "health_check_interval": 25,
    "socket_keepalive": True,
    # Publishing must fail fast: Postgres remembers, and the next tick nudges again.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
CELERY_TASK_PUBLISH_RETRY = False
# One queue for all work; the pulse goes to every worker, so that each shows that it takes work.
_EVERY_WORKER = Broadcast("pulse")
CELERY_TASK_QUEUES = (Queue("celery"), _EVERY_WORKER)
CELERY_TASK_ROUTES = {"rotation.pulse": {"queue": "pulse"}}
CELERY_DB_REUSE_MAX = 1000
TICK_SECONDS = env.float("TICK_SECONDS", default=5.0)
PULSE_SECONDS = min(20.0, 4 * TICK_SECONDS)


def _every(task: str, seconds: float, expires: float | None = None) -> dict[str, Any]:
    """Run a task so often; a worker that was away finds one message, not a thousand."""
    return {"task": task, "schedule": seconds, "options": {"expires": expires or seconds}}


CELERY_BEAT_SCHEDULE = {
    "tick": _every("rotation.tick", TICK_SECONDS),
    "pulse": {
        "task": "rotation.pulse",
        "schedule": PULSE_SECONDS,
        # Beat consumes nothing, so it must be told that this one goes to everybody.
        "options": {"declare": [_EVERY_WORKER.exchange]},
    },
    "seal": _every("audit.seal", 60.0),
    "roll": _every("audit.roll", 3600.0),
    "crosscheck": _every("rotation.crosscheck", 86400.0, 3600),
    "reconcile": _every("rotation.reconcile", 86400.0, 3600),
    "sweep": _every("rotation.sweep", 60.0),
    "tell": _every("rotation.tell", 30.0),
    "watch": _every("rotation.watch", 60.0),
}
FETCH_CACHE_SECONDS = env.float("FETCH_CACHE_SECONDS", default=60.0)
MAX_STARTS_PER_TICK = env.int("MAX_STARTS_PER_TICK", default=20)
MAX_ROTATIONS_PER_ACCOUNT = env.int("MAX_ROTATIONS_PER_ACCOUNT", default=10)
# How often each current key is checked, and at most how many such calls an account gets a month.
KEY_CHECK_INTERVAL_HOURS = env.float("KEY_CHECK_INTERVAL_HOURS", default=24.0)
KEY_CHECK_MONTHLY_LIMIT = env.int("KEY_CHECK_MONTHLY_LIMIT", default=2000)
REVEALS_PER_HOUR = env.int("REVEALS_PER_HOUR", default=20)
# How many keys may be made at one vendor account within 24 hours.
MAX_KEYS_CREATED_PER_DAY = env.int("MAX_KEYS_CREATED_PER_DAY", default=50)

# --- Telling people ---

# Such as smtp+tls://name:password@mail.example.com:587; without it nobody is told by mail.
EMAIL_HOST, EMAIL_PORT = "", 25
if _MAIL := secret("EMAIL_URL", default=""):
    vars().update(mail_server(_MAIL))
MAIL_FROM = env.str("MAIL_FROM", default="keyvault@localhost")
# Days before a key's end at which it is told: to its owner, then its team, then all owners; and
# after how many hours an open task is told again.
EXPIRY_REMINDER_DAYS = env.list("EXPIRY_REMINDER_DAYS", cast=int, default=[30, 14, 7, 3, 1, 0])
EXPIRY_NOTIFY_TEAM_DAYS = env.int("EXPIRY_NOTIFY_TEAM_DAYS", default=7)
EXPIRY_NOTIFY_OWNERS_DAYS = env.int("EXPIRY_NOTIFY_OWNERS_DAYS", default=1)
TASK_REMINDER_HOURS = env.float("TASK_REMINDER_HOURS", default=24.0)
NOTIFICATION_RETENTION_DAYS = env.int("NOTIFICATION_RETENTION_DAYS", default=365)

# --- People and pages ---

AUTH_USER_MODEL = "keyvault.Member"
_RULES = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_RULES}.MinimumLengthValidator", "OPTIONS": {"min_length": 15}},
    {"NAME": f"{_RULES}.CommonPasswordValidator"},
    {"NAME": f"{_RULES}.UserAttributeSimilarityValidator"},
    {"NAME": "keyvault.access.password_validation.GuessValidator"},
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
# What counts tries at second factors and remembers used codes: Postgres, so all processes share it.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "keyvault_cache",
        "OPTIONS": {
            "MAX_ENTRIES": 100_000
        },  # beyond 300, used codes would be forgotten and open again
    }
}
ACCOUNT_ADAPTER = "keyvault.access.authentication.AccountAdapter"
ACCOUNT_FORMS = {"login": "keyvault.access.authentication.SignInForm"}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
# Whatever can undo or uncover much asks for a proof of who one is that is no older, in seconds.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
# Wrong passwords are counted by signing_in.py; these bound the rest.
ACCOUNT_RATE_LIMITS = {
    "login": "100/m/ip",
    "login_failed": "100/m/ip,10/900s/key",
    "reauthenticate": "20/m/user",
    "change_password": "10/m/user",
}
MFA_ADAPTER = "keyvault.access.authentication.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_WEBAUTHN_USER_VERIFICATION = "required"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = INSECURE_HTTP
MFA_TOTP_TOLERANCE = 0
MFA_FORMS = {
    "authenticate": "keyvault.access.authentication.CodeForm",
    "reauthenticate": "keyvault.access.authentication.ProofForm",
}
# Must everybody have a second factor? Then nothing opens before one is set up.
REQUIRE_MFA = env.bool("REQUIRE_MFA", default=False)
# Single sign-on, if wanted: an OpenID Connect provider whose verified addresses are members'.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_NAME = env.str("OIDC_NAME", default="Single sign-on")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = secret("OIDC_CLIENT_SECRET", default="")
# By this token the company's directory tells who came and who left (SCIM 2.0); empty is off.
SCIM_TOKEN = secret("SCIM_TOKEN", default="")
SOCIALACCOUNT_ADAPTER = "keyvault.access.authentication.OtherAccountAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_ONLY = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}
# A session ends after this time without its person, and for good some hours after the sign-in.
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", default=30)
SESSION_COOKIE_AGE = 3600 * env.int("SESSION_HOURS", default=12)
SESSION_ENGINE = "keyvault.access.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not INSECURE_HTTP
SESSION_COOKIE_NAME = "keyvault_session" if INSECURE_HTTP else "__Host-session"
# Tells a browser in which its person signed in before; see keyvault/access/known_devices.py.
KNOWN_COOKIE_NAME = "keyvault_known" if INSECURE_HTTP else "__Host-known"
CSRF_COOKIE_NAME = "keyvault_csrf" if INSECURE_HTTP else "__Host-csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [BASE_URL] if BASE_URL else []
CSRF_FAILURE_VIEW = "keyvault.console.errors.csrf_failure"

SECURE_SSL_REDIRECT = not INSECURE_HTTP
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS = 0 if INSECURE_HTTP else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not INSECURE_HTTP
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Whose X-Forwarded-For is believed; from anybody else it is only a word.
TRUSTED_PROXIES = proxies(env.list("TRUSTED_PROXIES", default=[]))

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        **{f"{kind}-src": [SELF] for kind in ("script", "style", "img", "font", "connect")},
        **{kind: [NONE] for kind in ("default-src", "object-src", "base-uri", "frame-ancestors")},
        "form-action": [SELF],
    }
}

# How long old and new secret overlap, and how long an old key must be unused, without a policy.
DEFAULT_OVERLAP_SECONDS = env.int("DEFAULT_OVERLAP_SECONDS", default=3600)
DEFAULT_QUIET_SECONDS = env.int("DEFAULT_QUIET_SECONDS", default=3600)

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "keyvault.core.api_errors.handle",
}
_HOOK_KIND = "rotation.models.NotificationChannel.Kind"
SPECTACULAR_SETTINGS = {
    "TITLE": "Key management and rotation",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"RotationReason": "rotation.models.Reason", "HookKind": _HOOK_KIND},
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.smtp.EmailBackend")
DEFAULT_EXCEPTION_REPORTER = "keyvault.core.error_reporting.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "keyvault.core.error_reporting.ReportFilter"

# --- Logs: one JSON object a line, redacted by value; HTTP clients never at DEBUG. ---

# An error tracker, if wanted; what is sent there is cleaned by keyvault/core/error_reporting.py.
SENTRY_DSN = secret("SENTRY_DSN", default="")
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="")

# Lets a Prometheus server read /metrics and the words of /health/ready.
METRICS_TOKEN = secret("METRICS_TOKEN", default="")

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "keyvault.core.logging.json_formatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": sys.stderr}
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {  # the first print URLs and headers at DEBUG; no setting may lower them
        **{name: {"level": "WARNING"} for name in ("requests", "hvac", "kombu", "amqp")},
        # At WARNING it prints an answer's headers as they came, and a vendor may echo anything.
        "urllib3": {"level": "ERROR"},
        "requests_hardened": {"level": "ERROR"},
        # It prints addresses, which are as good as passwords, and answers.
        "apprise": {"level": "CRITICAL"},
        "django.request": {"level": "ERROR"},
        "celery": {"level": "INFO"},
    },
}
