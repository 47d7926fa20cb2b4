"""The door for applications: give a service token the current secret of a key.

The audit row commits before Vault is read, so no secret leaves unrecorded. An unchanged version
(the caller names it) releases nothing and writes no row.
"""

from dataclasses import dataclass

from django.db import connection
from django.utils import timezone

from keyvault import tokens, versions
from keyvault.audit.log import record_now, token_actor
from keyvault.audit.models import Action
from keyvault.errors import Conflict, NotFound
from keyvault.models import ApiKey, KeyVersion, ServiceToken
from keyvault.secret_text import Secret


@dataclass
class Fetched:
    """The current version of a key, with its secret unless the caller has it already."""

    key: ApiKey
    version: KeyVersion
    secret: Secret | None


def etag(version: KeyVersion) -> str:
    """Return the entity tag of a version."""
    return f'"{version.pk}"'


def fetch(token_text: str, key_id: int, known_etag: str = "") -> Fetched:
    """Return the key's current secret to the bearer of a token for its application and environment.

    Raises TokenRefused, NotFound (also for keys of others), Conflict, AuditUnavailable, or an
    error of the secret store.
    """
    token = authenticate(token_text)
    key = reachable_key(token, key_id)
    version = key.current
    if version is None:
        raise Conflict("This key has no current secret.")
    tokens.touch(token)
    if known_etag == etag(version):
        _note(token, version)
        return Fetched(key, version, None)
    record_now(Action.SECRET_FETCHED, token_actor(token), key, version=version.number)
    secret = versions.read_secret(version)
    _note(token, version)
    return Fetched(key, version, secret)


def authenticate(token_text: str) -> ServiceToken:
    """Return the live token; a refusal is recorded with the public part only."""
    try:
        return tokens.check(token_text)
    except tokens.TokenRefused:
        match = tokens.PATTERN.fullmatch(token_text)
        record_now(
            Action.TOKEN_REFUSED,
            tokens.anonymous_actor(),
            outcome="denied",
            public_id=match[1] if match else "",
        )
        raise


def reachable_key(token: ServiceToken, key_id: int) -> ApiKey:
    """Return the key if it belongs to the token's application and environment, else NotFound."""
    key = (
        ApiKey.objects.select_related("current", "account", "environment")
        .filter(pk=key_id, application=token.application_id, environment=token.environment_id)
        .first()
    )
    if key is None:
        record_now(
            Action.SECRET_FETCHED,
            token_actor(token),
            outcome="denied",
            reason="not a key of this application and environment",
            asked_for=key_id,
        )
        raise NotFound("There is no such key for this application and environment.")
    return key


def _note(token: ServiceToken, version: KeyVersion) -> None:
    """Keep who holds which version since when; an unchanged row is touched once a minute at most."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO keyvault_fetch AS held (token_id, key_id, version_id, first_at, last_at)
            VALUES (%(token)s, %(key)s, %(version)s, %(now)s, %(now)s)
            ON CONFLICT (token_id, key_id) DO UPDATE SET version_id = excluded.version_id,
                last_at = excluded.last_at,
                first_at = CASE WHEN held.version_id = excluded.version_id THEN held.first_at
                    ELSE excluded.first_at END
            WHERE held.version_id <> excluded.version_id
                OR held.last_at < excluded.last_at - interval '1 minute'
            """,
            {"token": token.pk, "key": version.key_id, "version": version.pk, "now": now},
        )
