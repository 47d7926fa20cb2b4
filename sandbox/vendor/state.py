"""What the vendor knows: accounts, keys and the ledger; each change is journalled before it is seen.

Times are UTC ISO texts with microseconds, always in the one form that `now_text` gives, so that they
compare as texts. Callers of anything here hold `State.lock`.
"""

import dataclasses
import hashlib
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sandbox.vendor.journal import Event, Journal

HISTORY_DAYS = 30
MOST_USES = 50_000
# So many that an installation which is left running does not run dry by itself.
PLENTY_OF_CREDITS = 100_000_000


def now_text() -> str:
    """Return the time now."""
    return _text(datetime.now(UTC))


def later(time: str, seconds: float) -> str:
    """Return the time `seconds` after `time`."""
    return _text(datetime.fromisoformat(time) + timedelta(seconds=seconds))


def normal_time(text: str) -> str:
    """Return any ISO time in our form, taken as UTC when it names no zone; ValueError if it is none."""
    moment = datetime.fromisoformat(text)
    return _text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass
class Account:
    """One customer. Delays, lags and `retry_after` are in seconds."""

    name: str
    plan: str | None = "pro"
    id: str = field(default_factory=lambda: "acc_" + secrets.token_hex(6))
    management_credential: str = field(default_factory=lambda: "mgmt_" + secrets.token_urlsafe(30))
    email: str = ""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    is_unlimited: bool = False
    videos_limit: int | None = 1000
    videos_used: int | None = 0
    credits_total: int = PLENTY_OF_CREDITS
    credits_used: int = 0
    retry_after: int = 86400
    key_limit: int | None = None
    envelope: str = "flat"
    start_delay: float = 0.0
    stop_delay: float = 0.0
    list_lag: float = 0.0
    granted_expiry_days: float | None = None
    dropped_scopes: list[str] = field(default_factory=list)
    added_scopes: list[str] = field(default_factory=list)
    # Whether a key without an end is shown with the word "never" rather than with null.
    says_never: bool = False
    # Whether lists leave the labels out, though a key has one and can be asked for by it.
    hides_labels: bool = False
    # How the last use of keys is told; see last_use.py.
    last_use_shown: str = "exact"
    last_use_resolution: float = 0.0
    last_use_lag: float = 0.0
    last_use_behind: float = 0.0
    # Whether answers name the account in a header, and lists show the end of each secret.
    tells_account: bool = True
    shows_masks: bool = True
    # "2026-08-22 /v1/videos/track" -> credits used that day
    history: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.email = self.email or f"{self.id}@customer.example"


@dataclass
class Key:
    """One API key. `valid_from`, `listed_from` and `stops_at` bound its life at the vendor."""

    account: str
    label: str
    created_at: str
    valid_from: str
    listed_from: str
    id: str = field(default_factory=lambda: "key_" + secrets.token_hex(8))
    # 30 random bytes are 40 URL-safe characters.
    secret: str = field(default_factory=lambda: "inf_" + secrets.token_urlsafe(30))
    expires_at: str | None = None
    scopes: list[str] = field(default_factory=list)
    disabled_at: str | None = None
    deleted_at: str | None = None
    stops_at: str | None = None
    last_used_at: str | None = None

    @property
    def sha256(self) -> str:
        """The digest by which tests find the key without holding its secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def masked(self) -> str:
        """What lists show of the secret."""
        return f"inf_…{self.secret[-4:]}"


class State:
    """Everything, in memory and in the journal."""

    def __init__(self, folder: Path) -> None:
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        self.by_secret: dict[str, Key] = {}
        self.by_credential: dict[str, Account] = {}
        self.ledger: list[Event] = []
        # The times at which each key was used, in order: who tells them late must know them.
        self.uses: dict[str, list[str]] = {}
        self.envelope = "flat"
        self._last_n = 0
        self._journal = Journal(folder / "journal.jsonl")
        for event in self._journal.replay():
            self._apply(event)

    def save(self, *rows: Account | Key) -> None:
        """Store new or changed accounts and keys."""
        for row in rows:
            self._commit(_event_of(row))

    def set_envelope(self, envelope: str) -> None:
        """Choose the error envelope for callers whose account is not known."""
        self._commit({"event": "envelope", "envelope": envelope})

    def note(self, kind: str, **entry: Any) -> None:
        """Write a ledger entry: a `call`, or a moment in the `life` of a key."""
        number = self._last_n + 1
        self._commit({"event": "ledger", "n": number, "time": now_text(), "kind": kind, **entry})

    def entries(self, after: int = 0) -> list[Event]:
        """Return the ledger's entries with a number above `after`."""
        first = self._last_n - len(self.ledger)
        return self.ledger[max(0, after - first) :]

    def clear_ledger(self) -> None:
        """Forget all entries; the numbers go on. The journal shrinks to what is still known."""
        rows: list[Account | Key] = [*self.accounts.values(), *self.keys.values()]
        envelope = {"event": "envelope", "envelope": self.envelope}
        cleared = {"event": "cleared", "n": self._last_n}
        self._journal.rewrite([*map(_event_of, rows), envelope, cleared])
        self.ledger = []

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _commit(self, event: Event) -> None:
        self._journal.append(event)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        match event["event"]:
            case "account":
                account = Account(**event["row"])
                if known := self.accounts.get(account.id):
                    self.by_credential.pop(known.management_credential, None)
                self.accounts[account.id] = self.by_credential[account.management_credential] = (
                    account
                )
            case "key":
                key = Key(**event["row"])
                self.keys[key.id] = self.by_secret[key.secret] = key
            case "ledger":
                self._add_entry({name: event[name] for name in event if name != "event"})
            case "envelope":
                self.envelope = event["envelope"]
            case "cleared":
                self.ledger, self._last_n = [], event["n"]

    def _add_entry(self, entry: Event) -> None:
        self.ledger.append(entry)
        self._last_n = entry["n"]
        if entry.get("used"):
            self.keys[entry["key"]].last_used_at = entry["time"]
            times = self.uses.setdefault(entry["key"], [])
            times.append(entry["time"])
            del times[:-MOST_USES]
        if entry.get("credits"):
            self._charge(self.accounts[entry["account"]], entry)

    def _charge(self, account: Account, entry: Event) -> None:
        account.credits_used += entry["credits"]
        day = f"{entry['time'][:10]} {entry['path']}"
        account.history[day] = account.history.get(day, 0) + entry["credits"]
        oldest = later(entry["time"], -HISTORY_DAYS * 86400)[:10]
        for past in [past for past in account.history if past[:10] < oldest]:
            del account.history[past]


def _event_of(row: Account | Key) -> Event:
    kind = "account" if isinstance(row, Account) else "key"
    return {"event": kind, "row": dataclasses.asdict(row)}
