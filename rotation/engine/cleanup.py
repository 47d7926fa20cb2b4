"""Second looks: strays that a vendor showed late, and secrets that nothing names or was to destroy."""

import logging

from django.utils import timezone

from keyvault.core.errors import KeyServiceError
from keyvault.inventory import hold_status, versions
from keyvault.models import KeyVersion, VersionState
from keyvault.vendors.base import VendorError
from rotation import orphaned_secrets
from rotation.engine import stranded_versions
from rotation.engine.steps.create_key import delete_strays
from rotation.models import OPEN_STEPS, Intent
from rotation.recovery import deletion_lock

log = logging.getLogger(__name__)
_BATCH = 50


def sweep() -> None:
    """Roll the epoch, then do the second looks; what fails is tried again at the next sweep."""
    try:
        deletion_lock.roll_marker()
        frozen = deletion_lock.lock_reason()
    except KeyServiceError as error:
        log.warning("epoch not compared", extra={"error": str(error)})
        return
    if frozen:
        return
    # guard: stranded version of older data
    stranded_versions.release_all()
    look_for_late_strays()
    finish_destroying()
    orphaned_secrets.destroy_all()


def look_for_late_strays() -> int:
    """Delete keys from unclear calls that the vendor's list did not show at first."""
    found = 0
    intents = Intent.objects.filter(look_again_at__lte=timezone.now()).select_related(
        "rotation__key__account", "rotation__requested_by"
    )
    for intent in intents[:_BATCH]:
        try:
            found += delete_strays(intent)
        except (VendorError, KeyServiceError) as error:
            log.warning("stray look-up failed", extra={"intent": intent.pk, "error": str(error)})
            continue
        Intent.objects.filter(pk=intent.pk).update(look_again_at=None)
    return found


def finish_destroying() -> int:
    """Destroy the secrets of versions that are retired while their rotation has ended."""
    ended = [VersionState.DELETED, VersionState.DISCARDED]
    done = 0
    left = KeyVersion.objects.filter(state__in=ended, destroyed_at__isnull=True).exclude(
        key__rotations__step__in=OPEN_STEPS
    )
    left = left.exclude(key__in=hold_status.active_holds().values("key"))
    for version in left[:_BATCH]:
        try:
            versions.destroy_secret(version)
            done += 1
        except KeyServiceError as error:
            log.warning("destroy failed", extra={"version": version.pk, "error": str(error)})
    return done
