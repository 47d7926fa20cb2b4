"""Versions of a key: store and read the secret, and move a version through its states.

Moves are compare-and-set updates in the caller's transaction: no row changed means that someone
else moved first, and Conflict is raised.
"""

from datetime import datetime

from django.db.models import Max
from django.utils import timezone

from keyvault.core.errors import Conflict, Unavailable
from keyvault.core.hashing import fingerprint, last_four
from keyvault.core.secret import Secret
from keyvault.inventory import hold_status, stored_secrets
from keyvault.models import ApiKey, KeyVersion, Link, Member, VersionState
from keyvault.vault import secret_store
from keyvault.vendors.base import CheckResult

AREA = "keys"


class SecretChanged(Unavailable):
    """Vault holds another value at the version's path than was recorded: as good as lost."""

    code = "secret_changed"


# What the store says of a secret that it will not give (again), unlike of one that it cannot give now.
LOST = (secret_store.StoreMissing, SecretChanged)


def draft_version(
    key: ApiKey, secret: Secret, *, source: str, added_by: Member | None
) -> KeyVersion:
    """Return an unsaved pending version that describes `secret`."""
    return KeyVersion(
        key=key if key.pk else None,
        state=VersionState.PENDING,
        fingerprint=fingerprint(secret),
        tail=last_four(secret),
        length=len(secret),
        source=source,
        added_by=added_by,
    )


def put_secret(version: KeyVersion, secret: Secret, key: ApiKey | None = None) -> None:
    """Write the secret to the version's own path in Vault, once; `key` is for one not saved yet.

    Save the version within `leftovers.saving` of its path, or the secret is destroyed again.
    """
    owner = owner_labels(key or version.key)
    data = {"secret": secret.reveal(), "vendor_id": version.vendor_id, **owner}
    # guard: secret noted before it is written
    stored_secrets.store_secret(AREA, data, version.path)


def owner_labels(key: ApiKey) -> dict[str, str]:
    """Return what is stored beside a secret, so that it can be told whose it is without our rows."""
    return {
        "key": str(key.pk or ""),
        "key_name": str(key),
        "stored_at": timezone.now().isoformat(timespec="seconds"),
    }


def read_secret(version: KeyVersion) -> Secret:
    """Return the version's secret; SecretChanged if Vault holds another value than was recorded."""
    secret = Secret(secret_store.read(AREA, version.path).get("secret", ""))
    if fingerprint(secret) != version.fingerprint:
        raise SecretChanged(
            "Vault holds another value than was recorded for this version: someone changed it "
            "there. Nothing was released. Compare with Vault's audit log, then rotate the key."
        )
    return secret


def save_first(version: KeyVersion) -> None:
    """Save the version as the first and current one of a new key."""
    version.number, version.state = 1, VersionState.CURRENT
    version.published_at = timezone.now()
    version.save(force_insert=True)
    version.key.current = version
    version.key.save(update_fields=["current"])


def save_next(version: KeyVersion) -> None:
    """Save the version under the key's next number, in the state that it carries."""
    last = KeyVersion.objects.filter(key=version.key_id).aggregate(last=Max("number"))["last"]
    version.number = (last or 0) + 1
    version.save(force_insert=True)


def note_verdict(version: KeyVersion, verdict: CheckResult) -> None:
    """Copy a vendor's verdict onto the version, unsaved."""
    version.checked_at = timezone.now()
    version.check_answer = verdict.answer
    version.check_text = verdict.text[:300]
    version.vendor_account = verdict.account[:100] or version.vendor_account


def save_verdict(version: KeyVersion, verdict: CheckResult) -> None:
    """Note a vendor's verdict in the version's row."""
    note_verdict(version, verdict)
    save_noted(version)


def save_noted(version: KeyVersion) -> None:
    """Save the verdict that was noted of the version, and nothing else of it."""
    version.save(update_fields=["checked_at", "check_answer", "check_text", "vendor_account"])


def note_link(version: KeyVersion, link: Link, text: str = "") -> None:
    """Note what is known of the link between the version's id at the vendor and its secret."""
    version.link, version.linked_at, version.link_text = link, timezone.now(), text[:400]
    version.save(update_fields=["link", "linked_at", "link_text"])


def note_end(version: KeyVersion, ends: datetime) -> None:
    """Note when the vendor says that the secret ends."""
    version.expires_at = ends
    version.save(update_fields=["expires_at"])


def take_standby(version: KeyVersion) -> None:
    """Make a standby the pending version of a rotation."""
    _move(version, VersionState.STANDBY, VersionState.PENDING)


def give_back_standby(version: KeyVersion) -> None:
    """Put a pending version that was a standby back in reserve."""
    _move(version, VersionState.PENDING, VersionState.STANDBY)


def publish(version: KeyVersion) -> None:
    """Make a pending version the current one; the current one becomes previous."""
    now = timezone.now()
    old = KeyVersion.objects.filter(key=version.key_id, state=VersionState.CURRENT).first()
    if old:
        _move(old, VersionState.CURRENT, VersionState.PREVIOUS, retired_at=now)
    _move(version, VersionState.PENDING, VersionState.CURRENT, published_at=now)
    ApiKey.objects.filter(pk=version.key_id).update(current=version, rotated_at=now)


def restore(old: KeyVersion, new: KeyVersion) -> None:
    """Make `old` current again and `new` previous: the way back of `publish`."""
    now = timezone.now()
    _move(new, VersionState.CURRENT, VersionState.PREVIOUS, retired_at=now)
    _move(old, VersionState.PREVIOUS, VersionState.CURRENT, retired_at=None)
    ApiKey.objects.filter(pk=old.key_id).update(current=old)


def note_refused(version: KeyVersion, at: datetime) -> None:
    """Note when the vendor was first seen to refuse the secret, the proof of its deletion."""
    if KeyVersion.objects.filter(pk=version.pk, refused_at__isnull=True).update(refused_at=at):
        version.refused_at = at


def withdraw_version(version: KeyVersion) -> None:
    """Give a version to nobody any more, before it is ended: it was current, standby or pending."""
    if version.state != VersionState.PREVIOUS:
        _move(
            version,
            VersionState(version.state),
            VersionState.PREVIOUS,
            retired_at=timezone.now(),
        )


def mark_deleted(version: KeyVersion) -> None:
    """Note that a previous version is gone at the vendor; its refusal must be on record."""
    _move(version, VersionState.PREVIOUS, VersionState.DELETED)


def discard_version(version: KeyVersion) -> None:
    """Note that a version that is not current will never be used (again)."""
    states = [VersionState.PENDING, VersionState.STANDBY, VersionState.PREVIOUS]
    if not KeyVersion.objects.filter(pk=version.pk, state__in=states).update(
        state=VersionState.DISCARDED
    ):
        raise Conflict("This version is not one that can be discarded.")
    version.state = VersionState.DISCARDED


def destroy_secret(version: KeyVersion) -> None:
    """Destroy the secret of a deleted or discarded version in Vault, for good.

    Raises Conflict for another version, OnHold while a hold stands on the key.
    """
    if version.state not in (VersionState.DELETED, VersionState.DISCARDED):
        raise Conflict("Only the secret of a deleted or discarded version may be destroyed.")
    # guard: hold before Vault
    hold_status.require_no_hold(version.key_id)
    secret_store.destroy(AREA, version.path)
    KeyVersion.objects.filter(pk=version.pk).update(destroyed_at=timezone.now())


def _move(
    version: KeyVersion, old: VersionState, new: VersionState, **changes: datetime | None
) -> None:
    if not KeyVersion.objects.filter(pk=version.pk, state=old).update(state=new, **changes):
        raise Conflict(f"Version {version.number} is no longer {old.label.lower()}.")
    version.state = new
