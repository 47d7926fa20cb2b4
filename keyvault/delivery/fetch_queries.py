"""Find what a fetch needs in one statement: the token, the key that it opens, and what it holds.

By a function of the database, because it is asked for each fetch of each program: the same through
models takes ten times as long. What is found comes as models, so that the rules stand in one place;
whoever still has it from a moment ago lets the database confirm it, and record the fetch with it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from json import dumps, loads
from typing import Any

from django.db import connection

from keyvault.audit import log
from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    KeyVersion,
    ServiceToken,
    VendorAccount,
)

_FIND = "SELECT * FROM keyvault_find_for_fetch(%s, %s, %s)"
_CONFIRM = "CALL keyvault_fetch_again(%s, %s, %s, %s::jsonb, NULL)"


@dataclass(frozen=True)
class Found:
    """A token that was named, the key if the token may have it, and which version the copy holds."""

    token: ServiceToken | None = None
    key: ApiKey | None = None
    held: int | None = None
    held_at: datetime | None = None
    # A digest of all that the rules ask about the token, the key and its current version.
    state: str = ""
    # What the next fetch like this one will write, once it was made out.
    row: dict[str, Any] = field(default_factory=dict)


def find(public_id: str, key_id: int, copy: str) -> Found:
    """Return what there is; whether the token is good is for tokens.require_good to say."""
    with connection.cursor() as cursor:
        # No key has a number beyond this, and the function takes none.
        cursor.execute(_FIND, [public_id, min(key_id, 2**63 - 1), copy])
        row = cursor.fetchone()
    if row is None:
        return Found()
    token = _token(row[:15])
    token.formers, token.texts_used = _json(row[27]), _json(row[28])
    key = _key(row[15:24], token) if row[15] is not None else None
    return Found(token, key, row[24], row[25], row[26])


def confirm(
    token: ServiceToken, key: ApiKey | None, state: str, entry: dict[str, Any] | None
) -> bool:
    """Tell whether `state` is still true of the token and the key; without a key, of all its keys.

    If so, the audit row is written with it: one statement, which commits at once. Raises
    AuditUnavailable when it cannot be written.
    """
    payload = None if entry is None else dumps(entry)
    values = [token.public_id, key.pk if key else None, state, payload]
    return bool(log.written("audit", _CONFIRM, values))


def state_of_all(token: ServiceToken) -> str:
    """Return the digest of what a token opens, to be asked before that is read: never newer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT keyvault_fetch_all_state(%s)", [token.public_id])
        return str(cursor.fetchone()[0])


def _token(row: tuple[Any, ...]) -> ServiceToken:
    application = Application(pk=row[11], name=row[12])
    environment = Environment(pk=row[13], name=row[14])
    names = (
        "id",
        "public_id",
        "digest",
        "former_digest",
        "former_until",
        "former_used_at",
        "networks",
        "name",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    said = dict(zip(names, row[:11], strict=True))
    said["networks"] = _json(said["networks"])
    return ServiceToken(**said, application=application, environment=environment)


def _json(value: Any) -> Any:
    """Return what a JSON column holds; a cursor of Django's gives it as text."""
    return loads(value) if isinstance(value, str) else value


def _key(row: tuple[Any, ...], token: ServiceToken) -> ApiKey:
    key = ApiKey(
        pk=row[0],
        name=row[1],
        environment=token.environment,
        application=token.application,
        account=VendorAccount(pk=row[3], name=row[4]),
    )
    if row[5] is not None:
        key.current = KeyVersion(pk=row[5], key=key, number=row[6], path=row[7], fingerprint=row[8])
    return key
