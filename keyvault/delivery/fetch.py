"""The door for applications: give a service token the current secret of a key.

The audit row commits before Vault is read, so no secret leaves unrecorded. An unchanged version
(the caller names it) releases nothing and writes no row.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keyvault import hooks
from keyvault.access import rate_limits
from keyvault.audit import actors
from keyvault.audit.actors import token_actor
from keyvault.audit.log import entry, record_now
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict, NotFound
from keyvault.core.hashing import peppered
from keyvault.core.request_context import current
from keyvault.core.secret import Secret
from keyvault.core.ttl_cache import TTLCache
from keyvault.delivery import instances, tokens
from keyvault.delivery.fetch_queries import Found, confirm, find, state_of_all
from keyvault.inventory import versions
from keyvault.models import ApiKey, KeyVersion, ServiceToken
from keyvault.vault import secret_cache

_REFUSALS_TOLD, _REFUSAL_WINDOW = 20, 900
# As long as a note counts: what is noted once a minute is noted on the whole way.
_CONFIRMED_FOR = 60.0


@dataclass
class Fetched:
    """The current version of a key, with its secret unless the caller has it already."""

    key: ApiKey
    version: KeyVersion
    secret: Secret | None


@dataclass(frozen=True)
class FoundAll:
    """What a token opened lately: its keys without their secrets, and what stood for all of that."""

    token: ServiceToken
    all: list[Fetched]
    tag: str
    state: str
    row: dict[str, Any] = field(default_factory=dict)


P = TypeVar("P", int, tuple[int, int])
F = TypeVar("F", Found, FoundAll)
# Bounded in memory too: some kilobytes a key, of which a place may have many.
_lately: TTLCache[tuple[str, int], Found] = TTLCache(2000)
_lately_all: TTLCache[tuple[str, tuple[int, int]], FoundAll] = TTLCache(50)
_MOST_REMEMBERED = 200
# The copies that went the whole way of late, with the tag of what was noted of each: what another copy
# was given since is noted of this one too. Apart from the above: ids are the caller's word, and whoever
# makes up many of them must not push out what others were given.
_seen: TTLCache[tuple[str, int | tuple[int, int], str], str] = TTLCache(20_000)


def etag(version: KeyVersion) -> str:
    """Return the entity tag of a version."""
    return f'"{version.pk}"'


def etag_of_all(found: Sequence[Fetched]) -> str:
    """Return the entity tag of a set of versions: it changes with each of them."""
    numbers = ",".join(str(one.version.pk) for one in found)
    return f'"{hashlib.sha256(numbers.encode()).hexdigest()[:32]}"'


def fetch(token_text: str, key_id: int, known_etag: str = "", instance: str = "") -> Fetched:
    """Return the key's current secret to the bearer of a token for its application and environment.

    `known_etag` is an entity tag, or several as in an If-None-Match header; `instance` is which copy
    of a program asks. Raises TokenRefused, NotFound (also for keys of others), Conflict, BadInput for
    an odd instance, AuditUnavailable, or an error of the secret store.
    """
    copy = instances.named(instance)
    again = _fetch_again(token_text, key_id, known_etag, copy)
    if again is not None:
        return again
    found = _find(token_text, key_id, copy)
    token, key = found.token, found.key
    assert token is not None
    if key is None:
        raise _foreign_key(token, key_id)
    version = key.current
    if version is None:
        raise Conflict("This key has no current secret.")
    tokens.touch(token)
    secret = None
    if etag(version) not in known_etag:
        secret = secret_cache.get(version.path)
        # The nightly comparison with the store's log must know that it was not asked this time.
        how: dict[str, Any] = {"from_memory": True} if secret else {}
        # guard: audit before fetch
        record_now(Action.SECRET_FETCHED, token_actor(token), key, version=version.number, **how)
        secret = secret or _read(version)
    if found.held != version.pk or found.held_at is None or instances.is_old(found.held_at):
        instances.note(token, [version], copy)
    name = peppered(token_text)
    _lately.put((name, key_id), found, time.time() + _CONFIRMED_FOR)
    _seen.put((name, key_id, copy), etag(version), time.time() + _CONFIRMED_FOR)
    return Fetched(key, version, secret)


def _fetch_again(token_text: str, key_id: int, known_etag: str, copy: str) -> Fetched | None:
    """Give what the same text was given lately, if the rules hold and nothing of it has changed.

    None for everything else: the whole way decides then, and says why. Use and holding are noted
    there, hence once in so many seconds, for each copy and each text of a token that was renewed.
    """
    found, token = _remembered(_lately, token_text, key_id, copy)
    if found is None or token is None or found.key is None or found.key.current is None:
        return None
    key, version, secret, row = found.key, found.key.current, None, None
    if etag(version) not in known_etag:
        secret = secret_cache.get(version.path)
        if secret is None:
            return None
        row = _row_again(found, token)
    return Fetched(key, version, secret) if confirm(token, key, found.state, row) else None


def _remembered(
    recent: "TTLCache[tuple[str, P], F]", token_text: str, place: P, copy: str
) -> tuple[F | None, ServiceToken | None]:
    """Return what this text was given lately and its token, if that is good as far as is known here."""
    if not tokens.PATTERN.fullmatch(token_text):
        return None, None
    name, now = peppered(token_text), time.time()
    found = recent.get((name, place), now)
    # guard: a copy is noted with what it was given from memory
    # guard: another copy is noted before it is given anything from memory
    if found is None or _seen.get((name, place, copy), now) != _tag_of(found):
        return None, None
    try:
        # guard: a token is checked for a fetch from memory
        return found, tokens.require_good(found.token, token_text, current().source)
    except tokens.TokenRefused:
        return None, None


def _tag_of(found: Found | FoundAll) -> str:
    if isinstance(found, FoundAll):
        return found.tag
    return etag(found.key.current) if found.key and found.key.current else ""


def _row_again(found: Found, token: ServiceToken) -> dict[str, Any]:
    """Return the row of this fetch; all but where it came from is the same each time."""
    assert found.key is not None
    assert found.key.current is not None
    if not found.row:
        detail = {"version": found.key.current.number, "from_memory": True}
        said = entry(Action.SECRET_FETCHED, token_actor(token), found.key, "ok", "", detail)
        found.row.update(said)
    return _from_here(found.row)


def _from_here(row: dict[str, Any]) -> dict[str, Any]:
    here = current()
    return {**row, "request_id": here.request_id, "source": here.source}


def forget() -> None:
    """Confirm nothing from memory any more."""
    for memory in (_lately, _lately_all, _seen):
        memory.clear()


def _find(token_text: str, key_id: int, copy: str) -> Found:
    """Return the live token with the key that it opens; a refusal is recorded."""
    try:
        found = find(tokens.public_id_in(token_text), key_id, copy)
        tokens.require_good(found.token, token_text, current().source)
    except tokens.TokenRefused:
        _record_refusal(token_text)
        raise
    return found


def _read(version: KeyVersion) -> Secret:
    """Return the secret from the store; one that is lost there is told, and the error says what follows."""
    try:
        secret = versions.read_secret(version)
    except versions.LOST as lost:
        what = "Vault has not the current secret of this key."
        if isinstance(lost, versions.SecretChanged):
            what = lost.message
        raise type(lost)(f"{what} {hooks.report_lost_secret(version, lost.message)}") from None
    secret_cache.put(version.path, secret)
    return secret


def fetch_all(
    token_text: str,
    application_id: int,
    environment_id: int,
    known_etag: str = "",
    instance: str = "",
) -> tuple[list[Fetched] | None, str]:
    """Return all current secrets that a token opens, by key name, and their common entity tag.

    None instead of the list when the caller has that set already. One audit row lists each key.
    Raises as `fetch` does; NotFound for any other application or environment than the token's.
    """
    copy, place = instances.named(instance), (application_id, environment_id)
    again = _fetch_all_again(token_text, place, known_etag, copy)
    if again is not None:
        return again
    token = authenticate(token_text)
    _require_own_place(token, application_id, environment_id)
    state = state_of_all(token)
    found = _current_of(token)
    tag = etag_of_all(found)
    tokens.touch(token)
    if tag not in known_etag:
        for one in found:
            one.secret = secret_cache.get(one.version.path)
        remembered = bool(found) and all(one.secret for one in found)
        record_now(Action.SECRET_FETCHED, token_actor(token), token, **_given(found, remembered))
        for one in found:
            one.secret = one.secret or _read(one.version)
    instances.note(token, [one.version for one in found], copy)
    if len(found) <= _MOST_REMEMBERED:
        plain, name = [Fetched(one.key, one.version, None) for one in found], peppered(token_text)
        until = time.time() + _CONFIRMED_FOR
        _lately_all.put((name, place), FoundAll(token, plain, tag, state), until)
        _seen.put((name, place, copy), tag, until)
    return (None if tag in known_etag else found), tag


def _given(found: Sequence[Fetched], from_memory: bool) -> dict[str, Any]:
    """Return what the audit row says of all these keys."""
    keys = [f"{one.key.pk}: version {one.version.number}" for one in found]
    # The nightly comparison with the store's log must know that it was not asked this time.
    how = {"from_memory": True} if from_memory else {}
    return {"count": len(keys), "keys": keys, **how}


def _fetch_all_again(
    token_text: str, place: tuple[int, int], known_etag: str, copy: str
) -> tuple[list[Fetched] | None, str] | None:
    """Do for all keys of a place what `_fetch_again` does for one."""
    found, token = _remembered(_lately_all, token_text, place, copy)
    if found is None or token is None or not found.all:
        return None
    if found.tag in known_etag:
        return (None, found.tag) if confirm(token, None, found.state, None) else None
    given = [Fetched(one.key, one.version, secret_cache.get(one.version.path)) for one in found.all]
    if not all(one.secret for one in given):
        return None
    if not found.row:
        detail = _given(given, from_memory=True)
        found.row.update(entry(Action.SECRET_FETCHED, token_actor(token), token, "ok", "", detail))
    return (given, found.tag) if confirm(token, None, found.state, _from_here(found.row)) else None


def _current_of(token: ServiceToken) -> list[Fetched]:
    keys = ApiKey.objects.select_related("current").filter(
        application=token.application_id, environment=token.environment_id, current__isnull=False
    )
    return [Fetched(key, key.current, None) for key in keys.order_by("name", "pk") if key.current]


def _require_own_place(token: ServiceToken, application_id: int, environment_id: int) -> None:
    if (token.application_id, token.environment_id) == (application_id, environment_id):
        return
    record_now(
        Action.SECRET_FETCHED,
        token_actor(token),
        outcome="denied",
        reason="not the application and environment of this token",
        asked_for=f"{application_id} in {environment_id}",
    )
    raise NotFound("There are no keys of this application and environment for this token.")


def authenticate(token_text: str) -> ServiceToken:
    """Return the live token; a refusal is recorded with the public part only."""
    try:
        return tokens.check(token_text, current().source)
    except tokens.TokenRefused:
        _record_refusal(token_text)
        raise


def _record_refusal(token_text: str) -> None:
    """Record it; from one source in a quarter of an hour only the first ones, and that there are more.

    Each row takes the chain's lock, and a program with an old token asks every second.
    """
    refused = rate_limits.count_attempt(
        "token refused", rate_limits.network_of(current().source), _REFUSAL_WINDOW
    )
    if refused > _REFUSALS_TOLD:
        return
    match = tokens.PATTERN.fullmatch(token_text)
    record_now(
        Action.TOKEN_REFUSED,
        actors.anonymous_actor(),
        outcome="denied",
        reason="more from here are only counted" if refused == _REFUSALS_TOLD else "",
        public_id=match[1] if match else "",
    )


def reachable_key(token: ServiceToken, key_id: int) -> ApiKey:
    """Return the key if it belongs to the token's application and environment, else NotFound."""
    key = (
        ApiKey.objects.select_related("current", "account", "environment")
        .filter(pk=key_id, application=token.application_id, environment=token.environment_id)
        .first()
    )
    if key is None:
        raise _foreign_key(token, key_id)
    return key


def _foreign_key(token: ServiceToken, key_id: int) -> NotFound:
    record_now(
        Action.SECRET_FETCHED,
        token_actor(token),
        outcome="denied",
        reason="not a key of this application and environment",
        asked_for=key_id,
    )
    return NotFound("There is no such key for this application and environment.")
