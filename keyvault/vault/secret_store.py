"""The one place that talks to Vault: write once, read, destroy, probe.

Each secret has a path of its own that is written once (`cas=0`) and never changes its value.
The login token is passed explicitly, lives per process, and is renewed by logging in again.
"""

import base64
import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import hvac
import requests
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from hvac import exceptions as vault_errors

from keyvault.core.env import secret
from keyvault.core.errors import KeyServiceError
from keyvault.vault import http_session
from keyvault.vault.errors import (
    StoreConflict,
    StoreDeleted,
    StoreDenied,
    StoreExpires,
    StoreMissing,
    StoreUnavailable,
    invalid,
    missing,
)

__all__ = [
    "StoreConflict", "StoreDeleted", "StoreDenied", "StoreExpires", "StoreMissing", "StoreUnavailable",
]  # fmt: skip

READ_TIMEOUT = (2.0, 4.0)
_RELOGIN_AT = 2 / 3
# After a login that found Vault away, others fail at once for so long instead of queueing for it.
_REST_SECONDS = 1.0
# What reading an answer raises that is JSON but not of Vault's shape, also within hvac.
_ODD_SHAPE = (KeyError, TypeError, AttributeError, ValueError)
_MARK = "epoch/mark"
# A standby may be behind for a moment: what it does not have yet is asked for again.
_LAG_PAUSES = (0.1, 0.3)
_LAG_TOLD_SECONDS = 30.0
_EXPIRES = (
    "Vault deletes by itself what is stored: delete_version_after is set on the mount or the path. "
    "Nothing was changed at the vendor, and no key is made while this is so. Set it to 0s."
)
T = TypeVar("T")


@dataclass
class _Login:
    client: hvac.Client
    relogin_at: float
    probed_at: float = float("-inf")


_login: _Login | None = None
_resting_until = 0.0
_vain_until = 0.0
_lock = threading.Lock()


def write_once(area: str, path: uuid.UUID, data: dict[str, str]) -> None:
    """Write `data` at a fresh path; raises StoreConflict when the path holds a value already."""
    where = f"{area}/{path}"

    def written(client: hvac.Client) -> int:
        answer = client.secrets.kv.v2.create_or_update_secret(
            where, secret=data, cas=0, mount_point=settings.VAULT_MOUNT
        )
        # guard: a mount that deletes by itself is refused
        if answer["data"].get("deletion_time"):
            raise StoreExpires(_EXPIRES)
        return int(answer["data"]["version"])

    try:
        _call(where, written)
    except StoreExpires:
        raise
    except StoreDenied:
        # Our roles may create and not update: Vault refuses a taken path before it compares.
        if _is_taken(area, path):
            raise StoreConflict("The path in Vault holds a value already.") from None
        raise


def _is_taken(area: str, path: uuid.UUID) -> bool:
    try:
        _read(area, path)
    except StoreDeleted:
        return True
    except KeyServiceError:
        return False
    return True


def read(area: str, path: uuid.UUID | str) -> dict[str, str]:
    """Return what was written at the path; StoreMissing or StoreDeleted when it is not there.

    What is missing is asked for again, unless that was in vain a moment ago.
    """
    global _vain_until
    for pause in _LAG_PAUSES if time.monotonic() > _vain_until else ():
        try:
            return _read(area, path)
        except StoreDeleted:
            raise
        except StoreMissing:
            # guard: what a standby lacks is asked for again
            time.sleep(pause)
    try:
        return _read(area, path)
    except StoreMissing:
        _vain_until = time.monotonic() + _LAG_TOLD_SECONDS
        raise


def _read(area: str, path: uuid.UUID | str) -> dict[str, str]:
    where = f"{area}/{path}"

    def found(client: hvac.Client) -> dict[str, str]:
        answer = client.secrets.kv.v2.read_secret_version(
            where, mount_point=settings.VAULT_MOUNT, raise_on_deleted_version=True
        )
        return {str(name): str(value) for name, value in answer["data"]["data"].items()}

    return _call(where, found)


def destroy(area: str, path: uuid.UUID) -> None:
    """Destroy the secret at the path for good, with its metadata; a path already gone is fine.

    Looks afterwards: only Vault's own word that nothing is there counts as done.
    """
    where = f"{area}/{path}"

    def gone(client: hvac.Client) -> None:
        client.secrets.kv.v2.destroy_secret_versions(
            where, versions=[1], mount_point=settings.VAULT_MOUNT
        )
        client.secrets.kv.v2.delete_metadata_and_all_versions(
            where, mount_point=settings.VAULT_MOUNT
        )

    with contextlib.suppress(StoreMissing):
        _call(where, gone)
    with contextlib.suppress(StoreMissing):
        _read(area, path)
        raise StoreUnavailable("Vault still holds a secret that was to be destroyed.")


def list_paths(area: str) -> set[str]:
    """Return the names of everything that lies in an area; an empty set when nothing ever did.

    Raises StoreDenied or StoreUnavailable rather than give a part of it.
    """

    def listed(client: hvac.Client) -> set[str]:
        answer = client.secrets.kv.v2.list_secrets(area, mount_point=settings.VAULT_MOUNT)
        return {str(name) for name in answer["data"]["keys"]}

    try:
        return _call(area, listed)
    except StoreMissing:
        return set()


def read_mark() -> tuple[str, int]:
    """Return the epoch's mark and the number of its writes; an empty mark when there is none."""

    def found(client: hvac.Client) -> tuple[str, int]:
        answer = client.secrets.kv.v2.read_secret_version(
            _MARK, mount_point=settings.VAULT_MOUNT, raise_on_deleted_version=True
        )
        data = answer["data"]
        return str(data["data"]["mark"]), int(data["metadata"]["version"])

    try:
        return _call(_MARK, found)
    except StoreMissing:
        return "", 0


def write_mark(mark: str, after: int) -> None:
    """Write the epoch's mark as the write that follows number `after`; StoreConflict if one did."""

    def written(client: hvac.Client) -> None:
        client.secrets.kv.v2.create_or_update_secret(
            _MARK, secret={"mark": mark}, cas=after, mount_point=settings.VAULT_MOUNT
        )

    _call(_MARK, written)


def transit_sign(mount: str, name: str, message: bytes) -> str:
    """Return the signature (base64) of the message by version 1 of a transit key that stays in Vault."""

    def signed(client: hvac.Client) -> str:
        answer = client.secrets.transit.sign_data(
            name, base64.b64encode(message).decode(), key_version=1, mount_point=mount
        )
        return str(answer["data"]["signature"]).removeprefix("vault:v1:")

    return _call(mount, signed)


def transit_public_key(mount: str, name: str) -> str:
    """Return the public key (base64) of version 1 of a transit key; StoreMissing if there is none."""

    def found(client: hvac.Client) -> str:
        answer = client.secrets.transit.read_key(name, mount_point=mount)
        return str(answer["data"]["keys"]["1"]["public_key"])

    return _call(mount, found)


def probe(trusted_seconds: float = 0.0) -> None:
    """Write, read back and destroy a test value: the way is open for the secret that will come.

    A probe under the same login that ended well within the last `trusted_seconds` is not repeated.
    """
    if _login and time.monotonic() - _login.probed_at < trusted_seconds:
        return
    path = uuid.uuid4()
    write_once("probe", path, {"probe": "yes"})
    if read("probe", path) != {"probe": "yes"}:
        raise StoreUnavailable("Vault gave back another value than was written.")
    destroy("probe", path)
    if _login:
        _login.probed_at = time.monotonic()


def health() -> dict[str, Any]:
    """Return Vault's own word: {"reachable", "sealed", "active", "server_time"}; never raises."""
    try:
        with http_session.make() as session:
            answer = session.get(
                f"{settings.VAULT_ADDR.rstrip('/')}/v1/sys/health",
                params={"standbyok": "true", "sealedcode": "200", "uninitcode": "200"},
                timeout=(1, 2),
                allow_redirects=False,
            ).json()
        sealed, initialized = answer["sealed"], answer["initialized"]
    except (requests.RequestException, *_ODD_SHAPE):
        return {"reachable": False, "sealed": None, "active": False, "server_time": None}
    return {
        "reachable": True,
        "sealed": bool(sealed),
        "active": bool(initialized) and not sealed,
        "server_time": answer.get("server_time_utc"),
    }


def reads() -> bool:
    """Return whether Vault can be read: it may say that it is well while its audit log is full."""
    with contextlib.suppress(KeyServiceError, ImproperlyConfigured):
        try:
            _read("probe", uuid.uuid4())
        except StoreMissing:
            return True
    return False


def forget_login() -> None:
    """Drop the login of this process; the next call logs in anew."""
    global _login, _resting_until, _vain_until
    with _lock:
        _login, _resting_until, _vain_until = None, 0.0, 0.0


def _call(where: str, work: Callable[[hvac.Client], T]) -> T:
    """Run `work`; a 403 gets one new login and one more try, if it was the token that ended."""
    client = _client()
    try:
        return _mapped(where, work, client)
    except StoreDenied:
        if _token_lives(client):
            raise
        _forget(client)
        return _mapped(where, work, _client())


def _token_lives(client: hvac.Client) -> bool:
    """Ask about the very token that was refused; another thread may have a new one by now."""
    try:
        client.auth.token.lookup_self()
    except vault_errors.Forbidden:
        return False
    except (vault_errors.VaultError, requests.RequestException, *_ODD_SHAPE):
        return True
    return True


def _forget(client: hvac.Client) -> None:
    global _login
    with _lock:
        if _login and _login.client is client:
            _login = None


def _mapped(where: str, work: Callable[[hvac.Client], T], client: hvac.Client) -> T:
    """Turn every way in which Vault can fail into one of our errors, without its text."""
    try:
        return _caught_up(work, client)
    except vault_errors.Forbidden:
        raise StoreDenied(
            f"Vault refuses access to {settings.VAULT_MOUNT}/{where.split('/', 1)[0]}. Nothing was "
            "changed. Check the policy of this process's AppRole, VAULT_MOUNT and VAULT_NAMESPACE."
        ) from None
    except vault_errors.InvalidPath as error:
        raise missing(error) from None
    except vault_errors.InvalidRequest as error:
        raise invalid(error) from None
    except (vault_errors.VaultError, requests.RequestException, *_ODD_SHAPE) as error:
        raise StoreUnavailable(
            f"Vault did not answer as it should ({type(error).__name__}). No secret was lost. "
            "The work goes on by itself when Vault is back."
        ) from None


def _caught_up(work: Callable[[hvac.Client], T], client: hvac.Client) -> T:
    """Run `work`, again when a standby says (412) that it has not yet what we wrote before."""
    for pause in _LAG_PAUSES:
        try:
            return work(client)
        except http_session.Behind:
            time.sleep(pause)
    return work(client)


def _client() -> hvac.Client:
    global _login, _resting_until
    with _lock:
        if _login and time.monotonic() < _login.relogin_at:
            return _login.client
        if time.monotonic() < _resting_until:
            raise StoreUnavailable("Vault could not be reached a moment ago. No secret was lost.")
        try:
            _login = _log_in()
        except StoreUnavailable:
            _resting_until = time.monotonic() + _REST_SECONDS
            raise
        return _login.client


def _log_in() -> _Login:
    client = _new_client()
    try:
        answer = client.auth.approle.login(
            role_id=settings.VAULT_ROLE_ID,
            # Read anew each time: a replaced secret-id file takes effect without a restart.
            secret_id=secret("VAULT_SECRET_ID"),
            use_token=True,
        )
        life = float(answer["auth"]["lease_duration"]) or 600.0
    except ImproperlyConfigured:
        raise StoreDenied(
            "This process has no secret-id for Vault: neither VAULT_SECRET_ID nor a readable "
            "VAULT_SECRET_ID_FILE. Nothing was changed. Deliver the file again."
        ) from None
    except (vault_errors.InvalidRequest, vault_errors.Forbidden, vault_errors.Unauthorized):
        raise StoreDenied(
            "Vault refused the AppRole login: VAULT_ROLE_ID or VAULT_SECRET_ID is wrong, used up "
            "or expired. Nothing was changed. Issue a new secret-id for this process."
        ) from None
    except (vault_errors.VaultError, requests.RequestException, *_ODD_SHAPE) as error:
        raise StoreUnavailable(
            f"Vault could not be reached to log in ({type(error).__name__}). No secret was lost."
        ) from None
    return _Login(client, time.monotonic() + life * _RELOGIN_AT)


def _after_fork() -> None:
    """Give a forked process a free lock and no login: neither may be shared with its parent."""
    global _lock, _login
    _lock, _login = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)


def _new_client() -> hvac.Client:
    if not settings.VAULT_ADDR:
        raise ImproperlyConfigured("VAULT_ADDR is not set: give the address of Vault or OpenBao.")
    return hvac.Client(
        url=settings.VAULT_ADDR,
        token="",  # None would have it look into the environment and the home folder
        verify=settings.VAULT_CACERT or True,
        timeout=READ_TIMEOUT,
        allow_redirects=False,
        session=http_session.make(),
        namespace=settings.VAULT_NAMESPACE or None,
    )
