"""What a comparison can find: one vocabulary, with what to do about each."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from keyvault.models import ApiKey, KeyVersion, VendorAccount

UNKNOWN_KEY = "unknown_key"
ALIVE_AFTER_DELETION = "alive_after_deletion"
MISSING_AT_VENDOR = "missing_at_vendor"
REFUSED = "refused"
ID_OF_ANOTHER = "id_of_another"
SECRET_WITHOUT_ROW = "secret_without_row"  # noqa: S105 - a kind of finding
COPY_OF_SECRET = "copy_of_secret"  # noqa: S105
ROW_WITHOUT_SECRET = "row_without_secret"  # noqa: S105
NOT_DESTROYED = "not_destroyed"
OWNER_LEFT = "owner_left"

WHAT_TO_DO = {
    UNKNOWN_KEY: "Find out who uses it; delete it at the vendor, or record it with registerkey.",
    ALIVE_AFTER_DELETION: "We hold it for deleted: delete it at the vendor again.",
    MISSING_AT_VENDOR: "Check the key; rotate it if the vendor refuses it.",
    ID_OF_ANOTHER: "Correct the id on the key's page, before a rotation asks for it.",
    REFUSED: "Rotate the key, or adopt a secret that the vendor accepts, if one is named here.",
    SECRET_WITHOUT_ROW: "Adopt it with --adopt if its key needs it; else delete the key it opens "
    "at the vendor, then the path in Vault.",
    COPY_OF_SECRET: "Destroy this path in Vault and nothing else: the key that it opens is on record "
    "under another path, and is left alone.",
    ROW_WITHOUT_SECRET: "The secret is gone from Vault: rotate the key.",
    NOT_DESTROYED: "The worker destroys it by itself; if this stays, look at its log.",
    OWNER_LEFT: "Give the key to somebody else, or rotate and delete it.",
}


# What is advised in place of an end, while a hold stands on the key.
ENDS_SOMETHING = (ALIVE_AFTER_DELETION, SECRET_WITHOUT_ROW, OWNER_LEFT)
ON_HOLD = (
    "Its key is on hold: delete nothing of it, at the vendor or in Vault, until an owner lifts the "
    "hold."
)


# What is advised where the finding rests on an id that nothing proves to be the secret's.
UNPROVEN = "Nothing proves that this id is the secret's, so it may be another key's."
BY_ID = {
    ALIVE_AFTER_DELETION: "Find out who uses the key of this id before anything is deleted by it.",
    MISSING_AT_VENDOR: "Check the key: if it works, correct the id on its page.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that does not add up. `subject` names it for good, so its id stays the same."""

    kind: str
    subject: str
    what: str
    since: datetime | None = None
    account: VendorAccount | None = None
    key: ApiKey | None = None
    version: KeyVersion | None = None
    held: bool = False

    @property
    def id(self) -> str:
        """Return a short name by which people refer to it."""
        digest = hashlib.sha256(f"{self.kind}:{self.subject}".encode()).hexdigest()
        return digest[:10]

    @property
    def do(self) -> str:
        """Return what a person does about it."""
        if self.held and self.kind in ENDS_SOMETHING:
            return ON_HOLD
        # guard: an unproven id is not advised to be deleted by
        if self.version and not self.version.is_linked and self.kind in BY_ID:
            return f"{UNPROVEN} {BY_ID[self.kind]}"
        return WHAT_TO_DO[self.kind]

    @property
    def about(self) -> str:
        """Return what its task is about."""
        return f"reconcile:{self.kind}:{self.subject}"[:200]


@dataclass
class Report:
    """What a comparison found, and what could not be compared; only without the latter is it whole."""

    findings: list[Finding] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Return whether everything could be compared."""
        return not self.not_compared
