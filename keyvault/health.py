"""Is what we stand on there? Short answers within seconds; none of them raises."""

from dataclasses import dataclass
from typing import Any

import redis
from celery import current_app
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection
from kombu.exceptions import OperationalError as BrokerAway

from keyvault import secret_store

_BROKER_SECONDS = 2


def database() -> bool:
    """Return whether Postgres answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone())
    except AnyDatabaseError:
        return False


def vault_state() -> dict[str, Any]:
    """Return Vault's own word: reachable, sealed, active and its time; never raises."""
    return secret_store.health()


def vault() -> bool:
    """Return whether Vault is reachable and unsealed."""
    return bool(secret_store.health()["active"])


@dataclass(frozen=True)
class Broker:
    """Whether the broker answers, how many messages wait, and what it does when it is full."""

    there: bool
    queued: int = 0
    eviction: str = ""

    @property
    def evicts(self) -> bool:
        """Return whether it may throw messages away to make room."""
        return self.eviction not in ("", "noeviction")


def broker_facts() -> Broker:
    """Ask the broker for its queue and its policy; a role that may not ask tells no policy."""
    # Celery writes a unix socket in a way of its own.
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1)
    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=_BROKER_SECONDS,
            socket_connect_timeout=_BROKER_SECONDS,
        ) as link:
            queued = int(link.llen("celery"))
            return Broker(True, queued, _eviction(link))
    except (redis.RedisError, OSError, ValueError):
        return Broker(False)


def _eviction(link: "redis.Redis") -> str:
    try:
        return str(link.info("memory").get("maxmemory_policy", ""))
    except redis.RedisError:
        return ""


def broker() -> bool:
    """Return whether the broker takes connections; without it everything works, only slower."""
    try:
        with current_app.connection_for_write(connect_timeout=_BROKER_SECONDS) as link:
            link.ensure_connection(
                max_retries=1, interval_start=0, interval_max=0, timeout=_BROKER_SECONDS
            )
            return bool(link.connected)
    except (BrokerAway, OSError):
        return False
