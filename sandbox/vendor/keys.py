"""The life of a key at the vendor: made, valid, used, disabled, deleted. Callers hold `State.lock`."""

import dataclasses

from sandbox.vendor.state import Account, Key, State, later, now_text

DAY = 86400.0


class LimitReached(Exception):
    """The account holds as many keys as it may."""


def make(
    state: State,
    account: Account,
    label: str,
    *,
    scopes: list[str] | None = None,
    expires_in_days: float | None = None,
    expires_at: str | None = None,
) -> Key:
    """Make a key, subject to what the account's settings do to new keys; LimitReached."""
    if account.key_limit is not None and len(present(state, account)) >= account.key_limit:
        raise LimitReached
    now = now_text()
    days = account.granted_expiry_days
    days = expires_in_days if days is None else days
    if days is not None:
        expires_at = later(now, days * DAY)
    key = Key(
        account=account.id,
        label=label,
        created_at=now,
        valid_from=later(now, account.start_delay),
        listed_from=later(now, account.list_lag),
        expires_at=expires_at,
        scopes=_granted(account, scopes or []),
    )
    state.save(key)
    _note(state, key, "created")
    _note(state, key, "valid_from", at=key.valid_from)
    return key


def disable(state: State, key: Key) -> None:
    """Have the key refused, from the end of the account's stop delay on."""
    if key.disabled_at is None:
        _stop(state, dataclasses.replace(key, disabled_at=now_text()), "disabled")


def delete(state: State, key: Key) -> None:
    """Delete the key; it is refused from the end of the account's stop delay on."""
    _stop(state, dataclasses.replace(key, deleted_at=now_text()), "deleted")


def rotate(state: State, key: Key) -> None:
    """Replace the key by a new one like it; the old one is refused at once, with no overlap."""
    now = now_text()
    account = state.accounts[key.account]
    state.save(dataclasses.replace(key, deleted_at=now, stops_at=now))
    _note(state, key, "deleted")
    _note(state, key, "stops_at", at=now)
    make(state, account, key.label, scopes=key.scopes)


def enable(state: State, key: Key) -> None:
    """Have a disabled key accepted again."""
    if key.disabled_at is not None:
        state.save(dataclasses.replace(key, disabled_at=None, stops_at=None))
        _note(state, key, "enabled")


def present(state: State, account: Account) -> list[Key]:
    """Return the account's keys that are not deleted, in the order in which they were made."""
    return [
        key for key in state.keys.values() if key.account == account.id and key.deleted_at is None
    ]


def verdict(key: Key) -> str:
    """Return what the vendor thinks of the key now: ok, expired or refused."""
    now = now_text()
    if now < key.valid_from or (key.stops_at is not None and now >= key.stops_at):
        return "refused"
    return "expired" if key.expires_at is not None and now >= key.expires_at else "ok"


def _granted(account: Account, scopes: list[str]) -> list[str]:
    wanted = [*scopes, *(scope for scope in account.added_scopes if scope not in scopes)]
    return [scope for scope in wanted if scope not in account.dropped_scopes]


def _stop(state: State, key: Key, outcome: str) -> None:
    delay = state.accounts[key.account].stop_delay
    stops_at = later(now_text(), delay)
    # A key that was disabled stops when that said; deleting it does not prolong its life.
    stops_at = min(key.stops_at or stops_at, stops_at)
    state.save(dataclasses.replace(key, stops_at=stops_at))
    _note(state, key, outcome)
    _note(state, key, "stops_at", at=stops_at)


def _note(state: State, key: Key, outcome: str, at: str | None = None) -> None:
    state.note(
        "life",
        account=key.account,
        route="life",
        method=None,
        key=key.id,
        status=None,
        outcome=outcome,
        label=key.label,
        at=at,
    )
