"""System checks: name a wrong or missing setting in plain words before it can do harm."""

import uuid
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from keyvault import hooks
from keyvault.core.errors import KeyServiceError
from keyvault.vault import secret_store
from rotation import dependencies

_LEAST_SECRET = 32


@register(Tags.security, deploy=True)
def check_production(**_: Any) -> list[CheckMessage]:
    """Refuse sandbox settings, weak secrets and one database role for all in production."""
    found = _check_secrets()
    for name in ("INSECURE_HTTP", "ALLOW_LOOPBACK_TARGETS"):
        if getattr(settings, name):
            found.append(Error(f"{name} is for sandboxes on loopback only.", id="keyvault.E002"))
    if not (settings.AUDIT_SIGNING_KEY or settings.AUDIT_TRANSIT_KEY):
        found.append(
            Warning(
                "Neither AUDIT_SIGNING_KEY nor AUDIT_TRANSIT_KEY is set: nothing shows a rewrite of "
                "the whole audit log.",
                id="keyvault.W002",
            )
        )
    for name in ("VAULT_ADDR", "VAULT_ROLE_ID", "BASE_URL"):
        if not getattr(settings, name):
            found.append(Error(f"{name} is not set.", id="keyvault.E003"))
    if not settings.VAULT_ADDR.startswith("https://"):
        found.append(Error("VAULT_ADDR must begin with https://.", id="keyvault.E004"))
    found += [*_check_proxies(), *_check_mail()]
    owner = settings.DATABASES.get("owner")
    if owner and owner["USER"] == settings.DATABASE_APP_ROLE:
        found.append(
            Error(
                "DATABASE_URL and DATABASE_OWNER_URL name the same role: whoever runs the app "
                "could rewrite the audit log. Give the app a role of its own.",
                id="keyvault.E005",
            )
        )
    return found


def _check_secrets() -> list[CheckMessage]:
    """Name secrets of our own that are too short to be random."""
    names = ["SECRET_KEY", "FINGERPRINT_KEY", "TOKEN_PEPPER"]
    names += ["SCIM_TOKEN"] if settings.SCIM_TOKEN else []
    return [
        Error(f"{name} is shorter than {_LEAST_SECRET} characters.", id="keyvault.E001")
        for name in names
        if len(getattr(settings, name)) < _LEAST_SECRET
    ]


def _check_proxies() -> list[CheckMessage]:
    """Name proxies that are everybody, and a proxy that hides where every request came from."""
    networks = [one for one in settings.TRUSTED_PROXIES if not isinstance(one, str)]
    if any(one.prefixlen == 0 for one in networks):
        return [
            Error(
                "TRUSTED_PROXIES holds all addresses: any caller could write what is recorded.",
                id="keyvault.E008",
            )
        ]
    if settings.SECURE_PROXY_SSL_HEADER and not settings.TRUSTED_PROXIES:
        return [
            Warning(
                "BEHIND_TLS_PROXY is on and TRUSTED_PROXIES is empty: the audit log records the "
                "proxy's address for every request, and tokens bound to networks are held to it.",
                id="keyvault.W005",
            )
        ]
    return []


def _check_mail() -> list[CheckMessage]:
    """Name a mail server elsewhere to which the password and the mails go in the clear."""
    safe = getattr(settings, "EMAIL_USE_TLS", False) or getattr(settings, "EMAIL_USE_SSL", False)
    if safe or settings.EMAIL_HOST in ("", "localhost", "127.0.0.1", "::1"):
        return []
    return [
        Warning(
            "EMAIL_URL begins with smtp://: password and mails go over the network in the clear.",
            hint="Write smtp+tls:// (port 587) or smtp+ssl:// (port 465).",
            id="keyvault.W006",
        )
    ]


@register()
def check_debug(**_: Any) -> list[CheckMessage]:
    """Refuse DEBUG on anything but loopback."""
    local = {"localhost", "127.0.0.1", "[::1]"}
    if settings.DEBUG and not set(settings.ALLOWED_HOSTS) <= local:
        return [Error("DEBUG must be off where others can connect.", id="keyvault.E006")]
    if settings.DEBUG:
        return [Warning("DEBUG is on: for development only.", id="keyvault.W001")]
    return []


@register(Tags.database)
def check_vault(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """With `check --database default`: write, read and destroy a test value where secrets will lie."""
    if not databases:
        return []
    try:
        _try_vault()
    except KeyServiceError as error:
        where = f"namespace “{settings.VAULT_NAMESPACE}”, mount “{settings.VAULT_MOUNT}”"
        return [
            Warning(
                f"Vault cannot be used ({where}): {error.message}",
                hint="Look at VAULT_ADDR, VAULT_NAMESPACE, VAULT_MOUNT, and at the policy of this "
                "process's AppRole. Log-in and data use the same namespace.",
                id="keyvault.W003",
            )
        ]
    return []


def _try_vault() -> None:
    try:
        secret_store.destroy("probe", uuid.uuid4())
    except secret_store.StoreDenied:
        # Web may destroy nothing and would leave its test value behind: for it reading is the test.
        try:
            secret_store.read("probe", uuid.uuid4())
        except secret_store.StoreMissing:
            return
    secret_store.probe()


@register(Tags.database)
def check_broker(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """With `check --database default`: a broker that may throw messages away is named."""
    facts = dependencies.broker_facts() if databases else None
    if facts and facts.evicts:
        return [
            Warning(
                f"The broker's maxmemory-policy is {facts.eviction}: it may throw messages away.",
                hint="Set maxmemory-policy noeviction, and keep caches on another server.",
                id="keyvault.W004",
            )
        ]
    return []


@register(Tags.database)
def check_audit_rights(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """With `check --database default`: the app's role must not be able to change the audit log.

    A database that was made with default privileges before a dump was restored into it gives too much.
    """
    if not databases:
        return []
    tables = ("audit_auditevent", "audit_chainhead", "audit_checkpoint")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NOT NULL"
            " AND has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE')",
            [list(tables)],
        )
        open_tables = [name for (name,) in cursor.fetchall()]
    if not open_tables:
        return []
    return [
        Error(
            f"This process's database role may change {', '.join(open_tables)}.",
            hint="Take UPDATE, DELETE and TRUNCATE on the audit tables from it; README says how a "
            "dump is restored with its rights.",
            id="keyvault.E007",
        )
    ]


@register(Tags.compatibility)
def check_hooks(**_: Any) -> list[CheckMessage]:
    """Name a hook that nobody connected: what it asks for would fail when it is needed."""
    return [
        Error(f"Nothing is connected to the hook {hook.name}.", id="keyvault.E009")
        for hook in hooks.HOOKS
        if not hook.connected
    ]
