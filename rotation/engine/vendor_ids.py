"""The door to ids at the vendor: a person corrects the id of a version, or takes it away.

What is typed here proves nothing: before a key is ended by it, the id is proven as any other.
"""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from keyvault.access.permissions import Permission, lock_member, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict, Denied, NotFound
from keyvault.inventory import vendor_id_format
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.models import LIVE_STATES, ApiKey, KeyVersion, Link, Member
from rotation.models import OPEN_STEPS, Intent, Rotation, Step
from rotation.queue import nudge


def correct(by: Member, key: ApiKey, number: int, text: str) -> KeyVersion:
    """Give a live version of the key another id at the vendor; none when `text` is empty.

    Its link to the secret is unproven then, and a rotation that waits for the id goes on. Raises
    Denied, NotFound, BadInput, and Conflict for an id that is proven, used, or just being called by.
    """
    # guard: an id is corrected by who manages the key
    if not may(by, Permission.MANAGE, key):
        raise Denied("Your role does not let you change this key's ids at the vendor.")
    vendor_id = vendor_id_format.clean(text)
    with transaction.atomic():
        lock_member(by)
        # Each step of a worker commits what it is about to call under the same lock.
        rotation = (
            Rotation.objects.select_for_update(no_key=True)
            .filter(key=key, step__in=OPEN_STEPS)
            .first()
        )
        version = _locked(key, number)
        _require_changeable(version, vendor_id)
        # guard: an id that another live version has is refused
        vendor_id_format.require_free(by, key.account, vendor_id, but=version)
        former = version.vendor_id
        _change(version, vendor_id)
        if rotation:
            _start_anew(rotation, key)
        record(
            Action.VERSION_ID_CORRECTED,
            member_actor(by),
            version,
            vendor_id=vendor_id,
            former=former,
        )
    return version


def _locked(key: ApiKey, number: int) -> KeyVersion:
    version = (
        KeyVersion.objects.select_for_update(no_key=True).filter(key=key, number=number).first()
    )
    if version is None:
        raise NotFound("This key has no such version.")
    version.key = key
    return version


def _require_changeable(version: KeyVersion, vendor_id: str) -> None:
    if version.state not in LIVE_STATES:
        raise Conflict("This version is over: its id stays on record as it was.", code="over")
    if version.vendor_id == vendor_id:
        why = f" {version.link_text}" if version.link == Link.REFUTED else ""
        raise Conflict(
            f"This is the id that is on record already. Nothing was changed.{why}",
            code="same_id",
        )
    begun = Intent.objects.filter(version=version).exclude(state=Intent.State.ABANDONED)
    # guard: an id is not corrected after the call that replaces in place
    # guard: an id is not corrected while its key is disabled for a proof
    if (
        begun.filter(kind=Intent.Kind.SWAP).exists()
        or begun.filter(disabling_at__isnull=False).exists()
    ):
        raise Conflict(
            (
                "The vendor is being called by this id just now, and what was disabled for a proof is "
                "enabled by it again. Nothing was changed. Try again in a few minutes."
            ),
            code="id_in_use",
        )
    # guard: a proven id stays
    if version.is_linked:
        raise Conflict(
            "The vendor itself showed that this id is this secret's "
            f"({version.get_link_display()}). Nothing was changed.",
            code="id_proven",
        )


def _change(version: KeyVersion, vendor_id: str) -> None:
    """Write the id, with nothing that was known of the one before; an intent to end goes by it too."""
    # guard: a corrected id is unproven
    version.vendor_id, version.link = vendor_id, Link.UNPROVEN
    version.linked_at, version.link_text = None, ""
    version.save(update_fields=["vendor_id", "link", "linked_at", "link_text"])
    open_ones = Intent.objects.filter(
        version=version, kind=Intent.Kind.DELETE, state=Intent.State.OPEN
    )
    # guard: the intent to end goes by the corrected id
    open_ones.update(vendor_id=vendor_id, unclear_since=None)


def _start_anew(rotation: Rotation, key: ApiKey) -> None:
    """Take the rotation from whoever holds it with the former id in hand, and have it look again now.

    An agreement to a call by the former id is none to one by this.
    """
    changes = {}
    if rotation.step == Step.GENERATE and provider_of(key.account).replaces_in_place:
        # guard: an agreement to one id is none to another
        changes = {"waived_by": None, "waived_at": None, "waiver_reason": ""}
    # guard: a worker with the former id in hand calls nothing
    Rotation.objects.filter(pk=rotation.pk).update(
        fence=F("fence") + 1,
        claimed_until=None,
        due_at=Now(),
        wake=F("wake") + 1,
        attempt=0,
        bad_answers=0,
        **changes,
    )
    nudge(rotation.pk)
