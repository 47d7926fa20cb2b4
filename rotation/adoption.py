"""Have the consumers moved? The proofs that count, and what is still missing, in words.

A consumer's acknowledgement proves that it holds the new secret, not that it let go of the old one;
so where the vendor tells the last use of the old key, that use must have stopped as well. The other
way round silence proves nothing about a consumer that is on record: what runs once a night is silent
all day, and a vendor may count late, coarsely or not at all. It is waited for, or a person says so.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet

from keyvault.models import ApiKey, KeyVersion
from rotation import clock
from rotation.models import Acknowledgement, Consumer, Reason, Rotation, WaitingFor


@dataclass(frozen=True)
class Adoption:
    """Whether the consumers moved; `how` names the proof, `missing` what is still waited for."""

    done: bool
    how: str = ""
    missing: str = ""
    waiting_for: WaitingFor = WaitingFor.NOTHING


def consumers_of(key: ApiKey) -> QuerySet[Consumer]:
    """Return the active consumers of the key: those of its application in its environment."""
    if key.application_id is None:
        return Consumer.objects.none()
    return Consumer.objects.filter(
        Q(token__revoked_at__isnull=True),
        Q(token__expires_at__isnull=True) | Q(token__expires_at__gt=clock.now()),
        application=key.application_id,
        environment=key.environment_id,
        active=True,
    )


def not_moved(key: ApiKey, version: KeyVersion) -> list[Consumer]:
    """Return the active consumers that have not proved to hold `version`."""
    return [consumer for consumer, moved in _each(key, version) if not moved]


def _each(key: ApiKey, version: KeyVersion) -> list[tuple[Consumer, bool]]:
    """Return the active consumers, each with whether it has proved to hold `version`."""
    proof = Acknowledgement.objects.filter(consumer=OuterRef("pk"), key=key.pk, version=version.pk)
    rows = consumers_of(key).annotate(has_moved=Exists(proof))
    return [(consumer, consumer.has_moved) for consumer in rows]


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
    consumers = _each(rotation.key, _new(rotation))
    missing = [consumer for consumer, moved in consumers if not moved]
    if missing:
        return Adoption(False, missing=_names(missing, used), waiting_for=WaitingFor.ADOPTION)
    if used:
        return Adoption(False, missing=_still_used(used), waiting_for=WaitingFor.QUIET)
    if quiet:
        return Adoption(True, _quiet_text(last_used))
    if not consumers:
        return _nobody(vendor_tells)
    return Adoption(True, "Every consumer proved that it holds the new key.")


def _new(rotation: Rotation) -> KeyVersion:
    assert rotation.new_version is not None
    return rotation.new_version


def _used_since(rotation: Rotation, last_used: datetime | None) -> bool:
    published = rotation.published_at
    return bool(last_used and published and last_used > published)


def _quiet(rotation: Rotation, last_used: datetime | None) -> bool:
    """Return whether the old key was unused for the quiet period, counted from the switch on."""
    period = timedelta(seconds=max(1, rotation.quiet_seconds))
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


def _names(consumers: list[Consumer], used: datetime | None) -> str:
    names = ", ".join(consumer.name for consumer in consumers[:10])
    more = f" and {len(consumers) - 10} more" if len(consumers) > 10 else ""
    text = f"Not yet on the new key: {names}{more}."
    return f"{text} {_still_used(used)}" if used else text
