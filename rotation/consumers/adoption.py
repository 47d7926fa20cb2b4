"""Have the consumers moved? The proofs that count, and what is still missing, in words.

A consumer's acknowledgement proves that it holds the new secret, not that it let go of the old one;
so where the vendor tells the last use of the old key, that use must have stopped as well. The other
way round silence proves nothing about a consumer that is on record: what runs once a night is silent
all day, and a vendor may count late, coarsely or not at all. It is waited for, or a person says so.
"""

from dataclasses import dataclass
from datetime import datetime

from keyvault.inventory.vendor_gateway import timing_of
from keyvault.models import ApiKey, KeyVersion
from rotation.consumers import holders
from rotation.consumers.holders import Holder, Switch, in_words
from rotation.consumers.last_use import Word, weigh
from rotation.models import Consumer, Reason, Rotation, WaitingFor

_ALL_MOVED = "Every consumer proved that it holds the new key."


@dataclass(frozen=True)
class Adoption:
    """Whether the consumers moved; `how` names the proof, `missing` what is still waited for."""

    done: bool
    how: str = ""
    missing: str = ""
    waiting_for: WaitingFor = WaitingFor.NOTHING


def not_moved(key: ApiKey, version: KeyVersion) -> list[Consumer]:
    """Return the active consumers of which not every copy has proved to hold `version`."""
    found = holders.gathered(key, Switch(None, version.pk))
    return [one.consumer for one in found if one.consumer and one.on_record and not one.moved]


def judge(rotation: Rotation, last_used: datetime | None, vendor_tells: bool) -> Adoption:
    """Weigh all proofs for this rotation; `last_used` is the old key's last use per the vendor.

    `vendor_tells`: whether the vendor said something of it just now.
    """
    if rotation.reason == Reason.LEAK:
        return Adoption(True, "The key leaked: it is withdrawn without waiting for consumers.")
    if rotation.waived_at and rotation.waived_holders is None:
        return _waived(rotation)
    if rotation.old_version is None:
        return Adoption(True, "There was no old key.")
    found = holders.of_rotation(rotation)
    # guard: a waiver speaks for whom it named
    left = [one for one in found if not (one.moved or one.waived)]
    if rotation.waived_at and not left:
        return _waived(rotation)
    known = any(one.on_record or one.has_proved for one in found)
    # guard: a dead key is no proof
    if rotation.old_gone_at:
        return _without_old_key(rotation, left, known)
    word = weigh(rotation, last_used, timing_of(rotation.key.account)) if vendor_tells else None
    used = word.others if word and not word.quiet else None
    # guard: silence outvotes no consumer on record
    if any(one.must_prove for one in left):
        return Adoption(
            False, missing=_names(rotation, left, used), waiting_for=WaitingFor.ADOPTION
        )
    # guard: old key in use
    if used and (left or known or (word and word.counts)):
        text = _names(rotation, left, used) if left else _still_used(rotation, used)
        return Adoption(False, missing=text, waiting_for=WaitingFor.QUIET)
    if left:
        return _unproved(rotation, left, word)
    if not known:
        return _nobody(rotation, word)
    return Adoption(True, f"{_ALL_MOVED} {_quiet_text(rotation, word)}".strip())


def _waived(rotation: Rotation) -> Adoption:
    waived = f"Waived by {rotation.waived_by}: {rotation.waiver_reason}"
    return Adoption(True, f"{waived} {_gone(rotation)}".strip())


def _without_old_key(rotation: Rotation, left: list[Holder], known: bool) -> Adoption:
    """Go on from a dead old key when all have moved; it is no proof that nothing needed it."""
    ask = needs_a_word(rotation)
    if any(one.must_prove or ask for one in left):
        end = "They are refused." if rotation.retires else "They are refused until they move."
        text = f"{_gone(rotation)} {_names(rotation, left)} {end}"
        return Adoption(False, missing=text, waiting_for=WaitingFor.ADOPTION)
    if not known and ask:
        text = "No consumer is on record: a person must confirm that nothing needs it."
        text = f"{_gone(rotation)} {text}"
        return Adoption(False, missing=text, waiting_for=WaitingFor.ADOPTION)
    return Adoption(True, f"{_ALL_MOVED} {_gone(rotation)}" if known else _gone(rotation))


def needs_a_word(rotation: Rotation) -> bool:
    """Return whether only a person can say that nothing needs a dead key that nobody is on record for.

    Not if that was shown while it lived, nor if it was dead before the new one was given out: what
    used it was refused before this rotation, which ends nothing.
    """
    if rotation.adopted_at or rotation.waived_at:
        return False
    gone, switch = rotation.old_gone_at, rotation.published_at
    return not (gone and switch and gone <= switch)


def _gone(rotation: Rotation) -> str:
    if rotation.old_gone_at is None:
        return ""
    return (
        f"The {_key(rotation)} was gone before we ended it, first seen "
        f"{rotation.old_gone_at:%Y-%m-%d %H:%M:%S} UTC."
    )


def _unproved(rotation: Rotation, left: list[Holder], word: Word | None) -> Adoption:
    """Weigh what holds the old key and need not, or cannot, prove that it moved.

    The vendor's silence counts for them only when it lasted longer than they ever stay away.
    """
    away = max(one.patience for one in left)
    names = holders.names(left, 150)
    if word is None or not word.counts:
        ask = all(one.can_only_be_confirmed for one in left)
        how = f": a person must confirm that nothing uses the {_key(rotation)}" if ask else ""
        text = _names(rotation, left, how=how)
        if word:
            text = f"{text} {_worthless(word)}"
        return Adoption(False, missing=text, waiting_for=WaitingFor.ADOPTION)
    # guard: the vendor is silent for longer than a holder
    if word.quiet and word.lasted >= away:
        return Adoption(True, f"{_quiet_text(rotation, word)} Without a word of its own: {names}.")
    text = (
        f"{_names(rotation, left)} They prove nothing, so the vendor must have seen no use of the "
        f"{_key(rotation)} for longer than they ever stay away: {in_words(away)}."
    )
    return Adoption(False, missing=text, waiting_for=WaitingFor.QUIET)


def _nobody(rotation: Rotation, word: Word | None) -> Adoption:
    """Judge by the vendor's word alone; where it does not count, only a person is left."""
    if word and word.quiet:
        return Adoption(True, _quiet_text(rotation, word))
    if word and not word.counts:
        text = (
            f"No consumer is on record. {_worthless(word)} Waiting until it does, or a person says that "
            f"nothing uses the {_key(rotation)}."
        )
        return Adoption(False, missing=text, waiting_for=WaitingFor.ADOPTION)
    if word:
        return Adoption(
            False,
            missing="No consumer is on record; waiting until the vendor sees no more use of the "
            f"{_key(rotation)}.",
            waiting_for=WaitingFor.QUIET,
        )
    return Adoption(
        False,
        missing="No consumer is on record and this vendor does not tell when a key was last used: "
        f"a person must confirm that nothing uses the {_key(rotation)}.",
        waiting_for=WaitingFor.ADOPTION,
    )


def _worthless(word: Word) -> str:
    return f"The vendor's word on the last use of this key does not count: {word.why_not}."


def _key(rotation: Rotation) -> str:
    """Return what the key is called whose end is at stake: a retirement knows no other."""
    return "key" if rotation.retires else "old key"


def _still_used(rotation: Rotation, last_used: datetime) -> str:
    return f"The {_key(rotation)} was still used at {last_used:%Y-%m-%d %H:%M:%S} UTC."


def _quiet_text(rotation: Rotation, word: Word | None) -> str:
    if word is None or not word.quiet:
        return ""
    return (
        f"The vendor saw the {_key(rotation)} fall quiet: since {word.since:%Y-%m-%d %H:%M:%S} UTC "
        "there was no use but our own checks."
    )


def _names(
    rotation: Rotation, left: list[Holder], used: datetime | None = None, *, how: str = ""
) -> str:
    """Name who is waited for. Where there is no new key, nobody can prove that they moved to it."""
    # guard: no word of a new key where a key is retired
    if rotation.retires:
        said = f"May still need the key: {holders.names(left)}"
        asked = any(one.must_prove for one in left)
        if asked:
            how = ": a person must confirm that nothing uses it"
    else:
        said = f"Not yet on the new key: {holders.names(left)}"
    text = f"{said}{how}."
    return f"{text} {_still_used(rotation, used)}" if used else text
