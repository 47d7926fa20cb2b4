"""What a provider is: one vendor's API, told as capabilities and a few plain calls.

Providers know neither Django nor our models: they get a `VendorAccount` and give back facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from keyvault.core.secret import Secret

VALID, REFUSED, CANNOT_TELL = "valid", "refused", "cannot_tell"
# The code of a verdict on a secret that no request can carry.
UNSENDABLE = "unsendable"


@dataclass(frozen=True)
class VendorConnection:
    """Where to call and as whom; `management` is the credential that may manage keys."""

    base_url: str
    dashboard_url: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    management: Secret | None = None
    allow_loopback: bool = False


@dataclass(frozen=True)
class CheckResult:
    """A vendor's verdict on a secret: `valid`, `refused` or `cannot_tell`, with a redacted reason.

    `facts` describe the vendor account and are compared between an old and a new secret;
    `retry_after` is in seconds.
    """

    answer: str
    text: str
    code: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    # The vendor's own id of the account that the secret belongs to, where it tells one.
    account: str = ""
    # What is used up of the account: {"plan", "used", "total"}, where the vendor says so.
    usage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What a new key shall be like; None where nothing is known to ask for."""

    rights: frozenset[str] | None = None
    lifetime: timedelta | None = None


NOTHING_WANTED = Wanted()


@dataclass(frozen=True)
class CreatedKey:
    """A key that the vendor just made; the only time its secret is told.

    No `expires_at` means that no end is known, which is not "never".
    """

    secret: Secret
    vendor_id: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class ListedKey:
    """A key as the vendor lists it; never with its secret.

    `rights` is None where the vendor does not tell them; what narrows a key (addresses, a spending
    limit) is one of them, as a text. `never_expires` only if the vendor says so.
    """

    vendor_id: str
    label: str
    disabled: bool = False
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    rights: frozenset[str] | None = None
    expires_at: datetime | None = None
    never_expires: bool = False
    # What lists show of the secret, such as "sk-…4f2a"; empty where they show nothing of it.
    masked: str = ""


class VendorError(Exception):
    """A call to the vendor did not succeed.

    `sent`: the request may have been carried out although we know of no success.
    `retryable`: the same call may succeed later without anyone doing something.
    """

    def __init__(
        self,
        text: str,
        *,
        code: str = "",
        status: int = 0,
        retryable: bool = True,
        sent: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.status = status
        self.retryable = retryable
        self.sent = sent
        self.retry_after = retry_after


class KeyDead(VendorError):
    """The vendor itself says that it has no such key, or that the key is disabled.

    Never what a proxy, a wrong address or an unknown route answers: that is "cannot tell". It is not
    proof either, since the credential of another account is told the same; the secret must be asked.
    """

    def __init__(self, text: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(text, code=code, status=status, retryable=False, sent=False)


@dataclass(frozen=True)
class Timing:
    """How a vendor's systems lag; an account's settings may say otherwise, by the same names.

    A new key may be refused, and an old one accepted, for `propagation_seconds`. So many
    `steady_answers` in a row, `steady_spacing_seconds` apart, make a verdict: nodes may disagree.
    A key just made may be missing from the vendor's list for `list_lag_seconds`.
    The last use of a key is told `last_use_lag_seconds` late and rounded to
    `last_use_resolution_seconds`, which also is how far the vendor's clock may be off.
    """

    propagation_seconds: float = 60.0
    steady_answers: int = 2
    steady_spacing_seconds: float = 2.0
    list_lag_seconds: float = 30.0
    last_use_resolution_seconds: float = 60.0
    last_use_lag_seconds: float = 0.0

    @property
    def least_quiet_seconds(self) -> float:
        """The shortest quiet period that shows anything: a shorter one may pass between two uses."""
        return 2 * self.last_use_resolution_seconds + self.last_use_lag_seconds

    def adjusted(self, settings: Mapping[str, Any]) -> "Timing":
        """Return this timing with the positive numbers that an account's settings give instead."""
        names = {field.name for field in fields(self)}
        changes: dict[str, Any] = {
            name: value
            for name, value in settings.items()
            if name in names and isinstance(value, int | float) and value > 0
        }
        return replace(self, **changes)


class Provider:
    """One vendor. Subclasses set the facts and override what the vendor's API can do."""

    code = ""
    name = ""
    # Which calls the vendor's API offers; what it lacks becomes a task for a person.
    can_create = can_list = can_disable = can_delete = tells_last_use = tells_rights = False
    # The vendor's only way to a new key ends the old one at once: there is no overlap.
    replaces_in_place = False
    # The header in which each answer names the vendor's own account; empty where none does.
    account_header = ""
    # How many keys an account may hold, where the vendor has one number for all; see `limit_of`.
    key_limit: int | None = None
    timing = Timing()
    environment_variable = "API_KEY"
    # By what its keys are known among others: an expression for a whole key, and words of the names of
    # variables that hold one. What fits neither is sent to the vendor on a person's word only.
    shape = ""
    env_names: tuple[str, ...] = ()
    create_steps: tuple[str, ...] = ()
    delete_steps: tuple[str, ...] = ()

    def check(self, account: VendorConnection, secret: Secret) -> CheckResult:
        """Ask the vendor about `secret`; never raises for what the vendor may answer."""
        raise LookupError(f"{self.name} has no check")

    def limit_of(self, account: VendorConnection) -> int | None:
        """Return how many keys the account may hold: its setting `key_limit`, else the vendor's."""
        limit = account.settings.get("key_limit")
        own = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
        return limit if own else self.key_limit

    def create(
        self, account: VendorConnection, label: str, wanted: Wanted = NOTHING_WANTED
    ) -> CreatedKey:
        """Make a key that carries `label`, as much like `wanted` as can be; raises VendorError."""
        raise LookupError(f"{self.name} cannot create keys")

    def list_all(self, account: VendorConnection) -> list[ListedKey]:
        """Return every key of the account; raises VendorError rather than give a part of the list."""
        raise LookupError(f"{self.name} cannot list keys")

    def identify(self, account: VendorConnection) -> str:
        """Return the vendor's own id of the management credential's account, "" where it tells none.

        Changes nothing; raises VendorError, so that it shows as well whether the credential works.
        """
        self.list_all(account)
        return ""

    def find(self, account: VendorConnection, label: str) -> list[ListedKey]:
        """Return all keys with this label; raises VendorError rather than give a part of the list."""
        raise LookupError(f"{self.name} cannot list keys")

    def replace(self, account: VendorConnection, vendor_id: str) -> CreatedKey:
        """Replace the key by a new one; the old one is dead from then on. Raises VendorError."""
        raise LookupError(f"{self.name} cannot replace keys")

    def describe(self, account: VendorConnection, vendor_id: str) -> ListedKey:
        """Return one key with its rights and its end; raises VendorError, KeyDead if there is none."""
        raise LookupError(f"{self.name} does not tell the rights of keys")

    def disable(self, account: VendorConnection, vendor_id: str) -> bool:
        """Make the key refused but recoverable; False when there is none; raises VendorError."""
        raise LookupError(f"{self.name} cannot disable keys")

    def enable(self, account: VendorConnection, vendor_id: str) -> bool:
        """Have a disabled key accepted again; False when there is none; raises VendorError."""
        raise LookupError(f"{self.name} cannot enable keys")

    def delete(self, account: VendorConnection, vendor_id: str) -> bool:
        """Delete the key; False when the vendor has none of this id; raises VendorError.

        That one is gone is what another account's credential is told as well: it proves nothing.
        """
        raise LookupError(f"{self.name} cannot delete keys")

    def last_used(self, account: VendorConnection, vendor_id: str) -> datetime | None:
        """Return when the vendor last saw the key used, None for never.

        Raises KeyDead if the vendor itself says that there is no such key or that it is disabled,
        VendorError for all that leaves it open.
        """
        raise LookupError(f"{self.name} does not tell the last use")
