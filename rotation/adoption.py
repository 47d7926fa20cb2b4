"""Have the consumers moved? The proofs that count, and what is still missing, in words.

A consumer's acknowledgement proves that it holds the new secret, not that it let go of the old one;
so where the vendor tells the last use of the old key, that use must have stopped as well. The other
way round silence proves nothing about a consumer that is on record: what runs once a night is silent
all day, and a vendor may count late, coarsely or not at all. It is waited for, or a person says so.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyvault.models import ApiKey, KeyVersion
from rotation import clock, holders
from rotation.holders import Holder, Switch, in_words
from rotation.models import Consumer, Reason, Rotation, WaitingFor


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
    """Weigh all proofs for this rotation; `last_used` is the old key's last use per the vendor."""
    if rotation.reason == Reason.LEAK:
        return Adoption(True, "The key leaked: it is withdrawn without waiting for consumers.")
    if rotation.waived_at:
        return Adoption(True, f"Waived by {rotation.waived_by}: {rotation.waiver_reason}")
    if rotation.old_version is None:
        return Adoption(True, "There was no old key.")
    quiet = _quiet(rotation, last_used) if vendor_tells else False
    used = last_used if vendor_tells and not quiet and _used_since(rotation, last_used) else None
    found = holders.of_rotation(rotation)
    left = [one for one in found if not one.moved]
    if any(one.must_prove for one in left):
        return Adoption(False, missing=_names(left, used), waiting_for=WaitingFor.ADOPTION)
    if used:
        text = _names(left, used) if left else _still_used(used)
        return Adoption(False, missing=text, waiting_for=WaitingFor.QUIET)
    if left:
        return _unproved(rotation, left, last_used, vendor_tells)
    if quiet:
        return Adoption(True, _quiet_text(last_used))
    if not any(one.on_record or one.has_proved for one in found):
        return _nobody(vendor_tells)
    return Adoption(True, "Every consumer proved that it holds the new key.")


def _unproved(
    rotation: Rotation, left: list[Holder], last_used: datetime | None, vendor_tells: bool
) -> Adoption:
    """Weigh what holds the old key and need not, or cannot, prove that it moved.

    The vendor's silence counts for them only when it lasted longer than they ever stay away.
    """
    away = max(one.patience for one in left)
    names = holders.names(left, 150)
    if not vendor_tells:
        ask = all(one.can_only_be_confirmed for one in left)
        how = ": a person must confirm that nothing uses the old key" if ask else ""
        return Adoption(
            False, missing=f"{_names(left)[:-1]}{how}.", waiting_for=WaitingFor.ADOPTION
        )
    if _quiet(rotation, last_used, away):
        return Adoption(True, f"{_quiet_text(last_used)} Without a word of its own: {names}.")
    text = (
        f"{_names(left)} They prove nothing, so the vendor must have seen no use of the old key for "
        f"longer than they ever stay away: {in_words(away)}."
    )
    return Adoption(False, missing=text, waiting_for=WaitingFor.QUIET)


def _used_since(rotation: Rotation, last_used: datetime | None) -> bool:
    published = rotation.published_at
    return bool(last_used and published and last_used > published)


def _quiet(
    rotation: Rotation, last_used: datetime | None, at_least: timedelta = timedelta()
) -> bool:
    """Return whether the old key was unused for the quiet period, counted from the switch on."""
    period = max(at_least, timedelta(seconds=max(1, rotation.quiet_seconds)))
    since = max(filter(None, (rotation.published_at, last_used)), default=None)
    return since is not None and clock.now() - since >= period


def _nobody(vendor_tells: bool) -> Adoption:
    if vendor_tells:
        return Adoption(
            False,
            missing="No consumer is on record; waiting until the vendor sees no more use of the "
            "old key.",
            waiting_for=WaitingFor.QUIET,
        )
    return Adoption(
        False,
        missing="No consumer is on record and this vendor does not tell when a key was last used: "
        "a person must confirm that nothing uses the old key.",
        waiting_for=WaitingFor.ADOPTION,
    )


def _still_used(last_used: datetime) -> str:
    return f"The old key was still used at {last_used:%Y-%m-%d %H:%M:%S} UTC."


def _quiet_text(last_used: datetime | None) -> str:
    seen = f"last used {last_used:%Y-%m-%d %H:%M:%S} UTC" if last_used else "never used"
    return f"The vendor saw the old key fall quiet ({seen})."


def _names(left: list[Holder], used: datetime | None = None) -> str:
    text = f"Not yet on the new key: {holders.names(left)}."
    return f"{text} {_still_used(used)}" if used else text
