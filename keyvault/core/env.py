"""Read settings from the environment: secrets also from the file that NAME_FILE names, networks."""

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Stands for a proxy on this machine that calls over a socket, and so has no address.
SOCKET = "unix"
_MAIL_SCHEMES = ("smtp", "smtps", "smtp+tls", "smtp+ssl")


def secret(name: str, default: str | None = None) -> str:
    """Return the secret setting `name`, from NAME or from the file NAME_FILE.

    Raises ImproperlyConfigured when both are set, when the file cannot be read, or when
    neither is set and there is no default.
    """
    value, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and file:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
    if file:
        return _read(name, file, default)
    if value:
        return value
    if default is None:
        raise ImproperlyConfigured(
            f"{name} is not set: put it into the environment, or its file's path into {name}_FILE."
        )
    return default


def _read(name: str, file: str, default: str | None) -> str:
    """Return what the file holds; one that is empty stands for the default, where there is one."""
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}_FILE cannot be read ({error.strerror}): {file}"
        ) from None
    if not text and default is not None:
        return default
    if not text:
        raise ImproperlyConfigured(f"{name}_FILE is empty: {file}")
    return text


def mail_server(url: str) -> dict[str, Any]:
    """Return Django's settings for the mail server at `url`; ImproperlyConfigured without its text.

    An odd character in the password would otherwise stand in the error of a failed start.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in _MAIL_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        good = None
    if not good:
        raise ImproperlyConfigured(
            "EMAIL_URL is not an address such as smtp+tls://name:password@mail.example.com:587. "
            "Write odd characters of the password as %40 and the like."
        ) from None
    return dict(environ.Env.email_url_config(url))


def proxies(texts: Iterable[str]) -> list[Network | str]:
    """Return networks of proxies, with SOCKET as it is; ImproperlyConfigured names one that is none.

    Read once at the start: a slip must not wait for the first request to show.
    """
    try:
        return [text if text == SOCKET else ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"TRUSTED_PROXIES: {error}. Write networks such as 10.1.0.0/16 or 2001:db8::/32, or "
            f"{SOCKET}, with commas between them."
        ) from None


def database(name: str) -> dict[str, Any]:
    """Return the database that the secret setting `name` gives as a URL, with what keeps it in bounds."""
    config = environ.Env.db_url_config(secret(name))
    config.update(
        HOST=unquote(config["HOST"]),  # a folder, for a unix socket, is written %2Frun%2Fpostgresql
        CONN_MAX_AGE=60,
        CONN_HEALTH_CHECKS=True,
        OPTIONS={
            "connect_timeout": 5,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "application_name": "keyvault",
            "options": "-c lock_timeout=3s -c statement_timeout=15s"
            " -c idle_in_transaction_session_timeout=20s -c timezone=UTC",
        },
    )
    return dict(config)
