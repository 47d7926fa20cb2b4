"""What people do after a restore: adopt a secret that the database forgot, and thaw deletion."""

import uuid
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from keyvault.access.permissions import require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, NotFound
from keyvault.core.numbers import whole
from keyvault.core.secret import Secret
from keyvault.inventory import stored_secrets, versions
from keyvault.inventory.vendor_gateway import check_secret
from keyvault.models import ApiKey, KeyVersion, Member, VersionState
from keyvault.vault import secret_store
from keyvault.vendors.base import REFUSED, VALID
from rotation.consumers import webhooks
from rotation.queue import open_rotation
from rotation.recovery import deletion_lock, findings
from rotation.recovery.findings import Finding, Report
from rotation.recovery.reconciliation import reconcile

_REASON_LEAST = 5


def unlock_deletions(by: Member, accepted: list[str], reason: str) -> Report:
    """Let deletions go on once nothing is open, but for findings that `by` accepts by their ids.

    Raises Denied, BadInput without a reason, Conflict when something is open or was not compared.
    """
    require_owner(by, "settle what a restore left behind")
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput("Say what was restored and how it was settled; it goes on record.")
    report = reconcile()
    if not report.complete:
        raise Conflict("Not everything could be compared: " + " ".join(report.not_compared))
    left = [finding for finding in report.findings if finding.id not in accepted]
    if left:
        names = "; ".join(f"{finding.id} {finding.what}" for finding in left[:10])
        raise Conflict(f"{len(left)} findings are open: {names}. Settle or accept each of them.")
    known = {finding.id for finding in report.findings}
    taken = ", ".join(sorted(known & set(accepted)))
    deletion_lock.unlock_deletions(
        member_actor(by), reason + (f" Accepted: {taken}." if taken else "")
    )
    return report


def adopt(by: Member, finding_id: str) -> KeyVersion:
    """Make a secret that no row names the current version of the key that it was stored for.

    Only when the vendor accepts it and the key's current secret is refused or gone. Raises Denied,
    NotFound for an unknown finding, Conflict when the key needs no other secret.
    """
    require_owner(by, "settle what a restore left behind")
    path, data = _forgotten(finding_id)
    key = _key_of(data)
    if open_rotation(key):
        raise Conflict("A rotation of this key is open: let it end, or cancel it, first.")
    secret = Secret(data["secret"])
    if check_secret(key.account, secret).answer != VALID:
        raise Conflict("The vendor does not accept this secret. Nothing was changed.")
    refused = _require_current_dead(key)
    draft = versions.draft_version(key, secret, source="adopted", added_by=by)
    draft.path, draft.vendor_id = uuid.UUID(path), data.get("vendor_id", "")
    draft.label, draft.checked_at, draft.check_answer = data.get("label", ""), timezone.now(), VALID
    with transaction.atomic():
        # guard: adopted secret is no leftover
        stored_secrets.adopt_secret(draft.path)
        old = ApiKey.objects.select_for_update().get(pk=key.pk).current
        versions.save_next(draft)
        versions.publish(draft)
        webhooks.enqueue(key, draft)
        if old:
            _retire(old, refused)
        record(Action.VERSION_ADOPTED, member_actor(by), draft, finding=finding_id)
    return draft


def _forgotten(finding_id: str) -> tuple[str, dict[str, str]]:
    """Return path and content of the secret without a row that the finding is about."""
    known = {str(path) for path in KeyVersion.objects.values_list("path", flat=True)}
    for path in secret_store.list_paths(versions.AREA) - known:
        if Finding(findings.SECRET_WITHOUT_ROW, path, "").id == finding_id:
            data = secret_store.read(versions.AREA, path)
            if "secret" in data:
                return path, data
    raise NotFound(f"No secret without a row has the id {finding_id}. Run reconcilekeys again.")


def _key_of(data: dict[str, str]) -> ApiKey:
    number = whole(data.get("key", ""))
    named = ApiKey.objects.select_related("account", "environment", "current")
    key = named.filter(pk=number).first() if number is not None else None
    if key is None:
        name = data.get("key_name", "")
        key = next((one for one in named.iterator() if str(one) == name), None)
    if key is None:
        raise NotFound(
            "The key that this secret was stored for is not on record any more: record it again "
            "with registerkey and a new secret."
        )
    return key


def _require_current_dead(key: ApiKey) -> datetime | None:
    """Return when the current secret was seen refused, None if it is gone; Conflict if it lives."""
    if key.current is None:
        return None
    try:
        current = versions.read_secret(key.current)
    except secret_store.StoreMissing:
        return None
    # guard: adopt only what is needed
    if check_secret(key.account, current).answer != REFUSED:
        raise Conflict("The key's current secret is not refused by the vendor: nothing to adopt.")
    return timezone.now()


def _retire(old: KeyVersion, refused: datetime | None) -> None:
    old.state = VersionState.PREVIOUS
    if refused is None:
        versions.discard_version(old)
        return
    versions.note_refused(old, refused)
    versions.mark_deleted(old)
