"""The matrix: what must come of each fault at each side effect of a rotation.

R  goes on from where it was; one key is made         N  no effect at all; one key is made
C  looks first, clears what nobody can use, goes on   P  waits, ends nothing, goes on by itself
H  a person is told; goes on when it is mended        W  waits for consumers or the vendor's lag
F  deleting is frozen until people have settled it    -  cannot happen

Where a letter is not that of the plan, the product's way is at least as safe; WHY says so.
"""

from dataclasses import dataclass

FAULTS = {
    "F1": "SIGKILL before the effect",
    "F2": "SIGKILL after the effect, before it is recorded",
    "F3": "the same message three times more",
    "F4": "frozen past the lease while another worker goes on",
    "F5": "Valkey flushed and killed",
    "F6": "Postgres killed",
    "F7": "the vendor answers 429 and 500",
    "F8": "the vendor carries it out and cuts the answer",
    "F9": "the vendor drips its answer",
    "F10": "a 200 that says nothing",
    "F11": "Vault is stopped",
    "F12": "Vault is frozen",
    "F13": "Vault refuses: 403",
    "F14": "a clock that is an hour off",
    "F15": "the webhook's receiver fails",
    "F16": "a consumer goes on with the old key",
    "F17": "the disk is full",
    "F18": "the database is restored from before",
    "F19": "SIGTERM, as at a deploy",
    "F20": "the vendor's list or switch-off lags, or its slots are full",
    "F21": "the vendor tells the old key's last use never, coarsely, late, or by a slow clock",
    "F22": "a gateway in front of the vendor answers 404",
    "F23": "the old key dies at the vendor before it is ended here",
    "F24": "the id on record is that of another program's key",
    "F25": "one copy of two holds the old key",
}
EFFECTS = {
    "S1": ("claim and intent", "intent.before", "intent.after"),
    "S3": ("create at the vendor", "intent.after", "create.after"),
    "S4": ("write to Vault", "store.before", "store.after"),
    "S5": ("record the version", "record.before", "record.after"),
    "S6": ("check the new key", "prove.before", "prove.after"),
    "S7": ("publish", "publish.before", "publish.after"),
    "S8": ("tell consumers", "notify.before", "notify.after"),
    "S9": ("adoption", "adoption.before", "adoption.after"),
    "S10": ("check again", "post_verify.before", "post_verify.after"),
    "S11": ("delete intent", "delete_intent.before", "delete_intent.after"),
    "S12": ("delete at the vendor", "delete.before", "delete.after"),
    "S13": ("prove the refusal", "refused.before", "refused.after"),
    "S14": ("destroy in Vault", "destroy.before", "destroy.after"),
}
TABLE = """
      F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23 F24 F25
S1    R  C  N  N  R  R  -  -  -  -   P   P   H   N   -   -   P   F   R   P   -   -   -   -   -
S3    C  C  N  C  R  C  P  C  C  C   C   C   H   N   -   -   C   F   C   C   -   -   -   -   -
S4    C  R  N  C  R  C  -  -  -  -   C   C   H   N   -   -   C   F   C   -   -   -   -   -   -
S5    R  R  N  R  R  R  -  -  -  -   R   R   R   N   -   -   P   F   R   -   -   -   -   -   -
S6    R  R  N  R  R  R  P  R  P  P   P   P   H   N   -   -   P   F   R   -   -   P   -   -   -
S7    R  R  N  R  R  R  -  -  -  -   R   R   H   N   -   -   P   F   R   -   -   -   -   -   -
S8    R  R  N  R  R  R  -  -  -  -   -   -   -   N   P   -   P   F   R   -   -   -   -   -   -
S9    R  R  N  R  R  R  -  -  -  -   R   R   R   N   -   W   P   F   R   -   W   W   W   -   W
S10   R  R  N  R  R  R  P  R  P  P   P   P   H   N   -   W   P   F   R   -   -   P   -   -   -
S11   R  R  N  R  R  R  -  -  -  -   P   P   H   N   -   -   P   F   R   -   -   -   R   -   -
S12   R  R  N  R  R  R  P  R  P  P   P   P   H   N   -   -   P   F   R   -   -   P   R   H   -
S13   R  R  N  R  R  R  P  R  P  P   P   P   H   N   -   -   P   F   R   W   -   P   -   -   -
S14   R  R  N  R  R  R  -  -  -  -   P   P   H   N   -   -   P   F   R   -   -   -   -   -   -
"""
WHY = {
    "S1": "after the intent has committed nobody can tell whether the call was made, so it looks (C)",
    "S4": "a key whose secret could not be stored is deleted and made anew; nothing waits for 10 min",
    "S6/S10/S12/S13 F10": "a 200 that proves nothing is 'cannot tell': it waits, and never takes back",
    "F18": "every deletion freezes, at whatever step; making and publishing go on",
}


@dataclass(frozen=True)
class Cell:
    """One fault at one side effect, and the letter of what must come of it."""

    effect: str
    fault: str
    letter: str

    def __str__(self) -> str:
        return f"{self.effect}-{self.fault}"


def cells() -> list[Cell]:
    """Return every cell that can happen, in the table's order."""
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return [
        Cell(row[0], fault, letter)
        for row in rows
        for fault, letter in zip(head, row[1:], strict=True)
        if letter != "-"
    ]
