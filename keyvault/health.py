"""Is what we stand on there? Short answers within seconds; none of them raises."""

from celery import current_app
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


def vault() -> bool:
    """Return whether Vault is reachable and unsealed."""
    return bool(secret_store.health()["active"])


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
