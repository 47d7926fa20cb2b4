"""Is what we stand on there? Short answers within seconds; none of them raises."""

import time
from dataclasses import dataclass
from typing import Any

import redis
from celery import current_app
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection
from kombu.exceptions import OperationalError as BrokerAway

from keyvault.audit import log
from keyvault.vault import secret_store

_BROKER_SECONDS = 2
# What was tried counts for so long: anybody may ask whether the service is ready.
_TRUSTED_SECONDS = 3.0


def database() -> bool:
    """Return whether Postgres answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone())
    except AnyDatabaseError:
        return False


def vault_state() -> dict[str, Any]:
    """Return Vault's own word (reachable, sealed, active, its time) and whether it can be read.

    `active` is true only when it can: with a full audit disk it says that it is well, and refuses
    every request. Never raises.
    """
    state = secret_store.health()
    # guard: readiness is tried
    reads = bool(state["active"]) and _vault_reads()
    return {**state, "active": reads, "reads": reads}


_tried: tuple[float, bool] | None = None


def _vault_reads() -> bool:
    """Try it, once in a few seconds however often we are asked."""
    global _tried
    if _tried is None or time.monotonic() - _tried[0] > _TRUSTED_SECONDS:
        _tried = (time.monotonic(), secret_store.reads())
    return _tried[1]


def forget() -> None:
    """Try anew at the next question."""
    global _tried
    _tried = None


def audit() -> bool:
    """Return whether the audit log can be written; without it no secret is given."""
    return log.writable()


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


def broker_link() -> "redis.Redis":
    """Return a link to the broker itself, with short deadlines; use it in a `with`."""
    # Celery writes a unix socket in a way of its own.
    return redis.Redis.from_url(
        settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1),
        socket_timeout=_BROKER_SECONDS,
        socket_connect_timeout=_BROKER_SECONDS,
    )


def broker_facts() -> Broker:
    """Ask the broker for its queue and its policy; a role that may not ask tells no policy."""
    try:
        with broker_link() as link:
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
