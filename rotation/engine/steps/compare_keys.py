"""Is the new key like the old one? Rights and length of life, as the vendor tells them of both.

Asked before the switch: a key that may do less breaks applications, one that may do more is a risk
nobody chose, and one that ends before the next planned run ends an application with it.
"""

from datetime import datetime, timedelta

from keyvault.core import db_clock
from keyvault.core.redaction import one_line
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import provider_of, vendor_account
from keyvault.models import KeyVersion
from keyvault.vendors.base import VALID, KeyDead, ListedKey, VendorError, Wanted
from rotation.models import Rotation, RotationPolicy
from rotation.scheduling.next_run import following

# What vendors round a life to, and what passes between two calls, makes no shorter life.
_ROUNDING, _SHARE = timedelta(days=1), 0.05


def wanted(rotation: Rotation) -> Wanted:
    """Return what to ask of a new key: what the old one has, as far as the vendor tells."""
    old = _described(rotation, rotation.old_version)
    return Wanted(old.rights, _life(old)) if old else Wanted()


def difference(rotation: Rotation) -> str:
    """Return in words what makes the new key unfit to replace the old one; empty when it is fit.

    Stores the end that the vendor tells for the new key, where it is not known yet.
    """
    new = rotation.new_version
    assert new is not None
    had, granted = _described(rotation, rotation.old_version), _described(rotation, new)
    if granted and granted.expires_at and new.expires_at is None:
        versions.note_end(new, granted.expires_at)
    # guard: lives are compared
    found = [_rights(had, granted), _end(rotation, had, new)]
    return " ".join(text for text in found if text)


def _described(rotation: Rotation, version: KeyVersion | None) -> ListedKey | None:
    """Return the key as the vendor describes it; None when it does not tell, or the key is gone.

    VendorError when the vendor knows no such key and yet accepts its secret: then the id or the
    credential is of another account, and nothing would compare the two keys.
    """
    provider = provider_of(rotation.key.account)
    if not (provider.tells_rights and version and version.vendor_id):
        return None
    try:
        return provider.describe(
            vendor_account(rotation.key.account, manage=True), version.vendor_id
        )
    # guard: rights are compared behind a gateway
    except KeyDead:
        if version.pk == rotation.new_version_id:
            # Just made and just checked, so it exists: its description comes late.
            raise VendorError("The vendor does not describe the new key yet.") from None
        # guard: an unknown id whose secret works
        if rotation.new_version_id and _was_just_accepted(rotation, version):
            raise VendorError(
                f"With the account's management credential the vendor knows no key {version.vendor_id}, and "
                "it accepts the secret: the id or the credential is of another account. Nothing "
                "was changed; correct what is on record.",
                retryable=False,
            ) from None
        return None


def _was_just_accepted(rotation: Rotation, version: KeyVersion) -> bool:
    """Return whether this rotation asked about the secret itself: what stood on record may be old."""
    asked, checked = rotation.old_asked_at, version.checked_at
    # guard: an accepted secret of before this rotation
    return version.check_answer == VALID and bool(asked and checked and checked >= asked)


def _rights(had: ListedKey | None, granted: ListedKey | None) -> str:
    old, new = had.rights if had else None, granted.rights if granted else None
    # guard: rights are compared
    if old is None or new is None or old == new:
        return ""
    parts = [
        f"it may not: {_list(old - new)}" if old - new else "",
        f"it may, and the old one may not: {_list(new - old)}" if new - old else "",
    ]
    return (
        f"The new key has other rights: {'; '.join(part for part in parts if part)}. "
        f"Old: {_list(old)}. New: {_list(new)}."
    )


def _list(rights: frozenset[str]) -> str:
    return one_line(", ".join(sorted(rights)) or "none", 120)


def _end(rotation: Rotation, had: ListedKey | None, new: KeyVersion) -> str:
    ends, now = new.expires_at, db_clock.now()
    if ends is None:
        return ""
    if ends <= now:
        return f"The new key has ended already, at {ends:%Y-%m-%d %H:%M} UTC."
    planned = _planned(rotation, now)
    old, life = _life(had), ends - new.created_at
    shorter = old is None or life < old - min(_ROUNDING, old * _SHARE)
    never = had is not None and had.never_expires
    if not shorter or (planned and ends > planned) or not (planned or old or never):
        return ""
    until = f"before the next planned rotation ({planned:%Y-%m-%d %H:%M} UTC)" if planned else ""
    return (
        f"The new key ends at {ends:%Y-%m-%d %H:%M} UTC, {until or 'and none is planned'}; it was "
        f"given {_days(life)}, the old one {_old_days(had, old)}. Have the vendor give it longer, or "
        "shorten the interval of the policy."
    )


def _planned(rotation: Rotation, now: datetime) -> datetime | None:
    """Return when the run after this one would be by the policy alone; None without a policy."""
    policy = RotationPolicy.objects.filter(key=rotation.key_id, enabled=True).first()
    if policy is None:
        return None
    return following(now, policy)


def _life(key: ListedKey | None) -> timedelta | None:
    """Return how long the key was given; None when that is not known."""
    if key is None or key.expires_at is None or key.created_at is None:
        return None
    life = key.expires_at - key.created_at
    return life if life > timedelta(0) else None


def _days(life: timedelta) -> str:
    return f"{life / timedelta(days=1):.1f}".removesuffix(".0") + " days"


def _old_days(had: ListedKey | None, life: timedelta | None) -> str:
    if had is not None and had.never_expires:
        return "no end"
    return "an end that is not known" if life is None else _days(life)
