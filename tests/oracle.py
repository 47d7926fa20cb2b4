"""Judge a finished test by the vendor's own ledger, Vault, Postgres and the audit log.

The invariants of the design: a key that consumers can fetch was valid at every instant; an old key
was deleted only after the new one was verified and adopted; no live key at the vendor is unknown;
no secret is outside Vault; every release was recorded; one open rotation a key; the chain holds.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from keyvault.audit.models import Action, AuditEvent
from keyvault.audit.verify import verify
from keyvault.models import LIVE_STATES, ApiKey, KeyVersion, VersionState
from rotation.engine import circuit_breaker
from rotation.models import OPEN_STEPS, HumanTask, Intent, Rotation
from tests.factories import secret_of


def assert_all_is_well(vendor: Any, place: Any, *, quiet: bool = True) -> None:
    """Check every invariant; with `quiet`, also those that hold only when nothing is under way."""
    assert_current_is_accepted(vendor, place)
    assert_deleted_after_proof()
    assert_audit_holds()
    if quiet:
        assert_no_unknown_keys(vendor, place)
        assert_every_rotation_ends_or_someone_knows()


def _vendor_keys(vendor: Any, place: Any) -> list[dict[str, Any]]:
    return [
        key
        for account in (place.vendor_api, place.vendor_manual)
        for key in vendor.keys(account["id"])
    ]


def assert_current_is_accepted(vendor: Any, place: Any) -> None:
    """What consumers can fetch now works at the vendor now."""
    accepted = {k["sha256"] for k in _vendor_keys(vendor, place) if k["accepted_now"]}
    for key in ApiKey.objects.select_related("current"):
        assert key.current is not None, f"{key} has no current version"
        digest = hashlib.sha256(secret_of(key.current).encode()).hexdigest()
        assert digest in accepted, f"what consumers of {key} get is refused by the vendor"


def assert_deleted_after_proof() -> None:
    """Each deleted version was replaced by one that was verified and adopted, in that order."""
    for rotation in Rotation.objects.filter(step="done").select_related("old_version"):
        old = rotation.old_version
        if old is None:
            continue
        assert old.state == VersionState.DELETED, f"{old} is {old.state} after {rotation}"
        assert old.refused_at is not None, f"{old} was never seen refused"
        assert rotation.published_at is not None
        assert rotation.verified_at is not None
        assert rotation.adopted_at is not None
        assert rotation.published_at <= rotation.verified_at <= rotation.adopted_at
        assert rotation.adopted_at <= old.refused_at
        intents = Intent.objects.filter(rotation=rotation, kind=Intent.Kind.DELETE, version=old)
        assert intents.count() == 1, "the delete was not preceded by exactly one intent"
        assert intents[0].created_at >= rotation.adopted_at


def assert_no_unknown_keys(vendor: Any, place: Any) -> None:
    """Every key that the vendor accepts is a live version of ours, or a person has been asked."""
    live = KeyVersion.objects.filter(state__in=LIVE_STATES)
    known = {hashlib.sha256(secret_of(version).encode()).hexdigest() for version in live}
    asked = set(HumanTask.objects.filter(closed_at=None).values_list("text", flat=True))
    for key in _vendor_keys(vendor, place):
        if key["accepted_now"] and key["sha256"] not in known:
            assert any(key["id"] in text for text in asked), (
                f"the vendor has a live key {key['id']} ({key['label']}) that nobody knows"
            )


def assert_every_rotation_ends_or_someone_knows() -> None:
    """An open rotation waits for a person who has a task, and no secret is left behind undestroyed."""
    for rotation in Rotation.objects.filter(step__in=OPEN_STEPS):
        if circuit_breaker.covered(rotation):
            continue
        assert HumanTask.objects.filter(rotation=rotation, closed_at=None).exists(), (
            f"{rotation} stands at {rotation.step} and nobody has been told"
        )
    ended = KeyVersion.objects.filter(state__in=["deleted", "discarded"], destroyed_at=None)
    assert not ended.exists(), f"secrets of retired versions still lie in Vault: {list(ended)}"


def assert_audit_holds() -> None:
    """The chain verifies, and each rotation's moves are on record."""
    report = verify()
    assert report.ok, f"audit row #{report.bad_seq}: {report.problem}"
    moves = defaultdict(list)
    for event in AuditEvent.objects.filter(object_kind="rotation").order_by("seq"):
        moves[event.object_id].append(event.action)
    for rotation in Rotation.objects.all():
        assert moves[str(rotation.pk)][0] == Action.ROTATION_STARTED, f"{rotation} began unrecorded"


def assert_nobody_was_cut_off(vendor: Any, place: Any, excused: Collection[str] = ()) -> None:
    """No program that used a key with success was refused with that key later on.

    Whatever its rhythm: who used it once may come again as long as it is not known to have moved.
    `excused` are ids of keys whose holders a person ended, or which died at the vendor by itself.
    """
    ours = {place.vendor_api["id"], place.vendor_manual["id"]}
    known = {key["id"] for account in ours for key in vendor.keys(account)} - set(excused)
    used: set[str] = set()
    for entry in vendor.ledger(route="track"):
        if entry["key"] not in known or entry["fault"]:
            continue
        if entry["status"] == 200:
            used.add(entry["key"])
        assert entry["status"] != 401 or entry["key"] not in used, (
            f"key {entry['key']} was refused to a program that used it before: {entry}"
        )


def creates(vendor: Any, account: dict[str, Any]) -> int:
    """Return how many keys the vendor made through its key-management API for this account."""
    ledger = vendor.ledger(account=account["id"])
    return sum(1 for entry in ledger if entry["route"] == "create" and entry["status"] == 201)
