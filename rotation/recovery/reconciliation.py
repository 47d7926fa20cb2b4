"""Compare what the database, Vault and the vendors hold. It reports; it deletes nothing.

An answer is believed only when it is whole: a list that fails, is empty or lacks most of what we know
is named as not compared, and then nothing is concluded from what it lacks.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import secret_masks
from keyvault.core.errors import KeyServiceError
from keyvault.core.hashing import fingerprint
from keyvault.core.secret import Secret
from keyvault.inventory import hold_status, stored_secrets, versions
from keyvault.inventory.vendor_gateway import check_secret, provider_of, vendor_account
from keyvault.models import LIVE_STATES, KeyVersion, VendorAccount, VersionState
from keyvault.vault import secret_store
from keyvault.vendors import base
from keyvault.vendors.base import ListedKey, VendorError
from rotation.human_tasks import close_alert, open_alert
from rotation.models import Heartbeat, HumanTask, Intent
from rotation.recovery import deletion_lock, findings
from rotation.recovery.findings import Finding, Report

_ACTOR = system_actor("reconcile")
_ENDED = (VersionState.DELETED, VersionState.DISCARDED)
_DESTROY_WITHIN = timedelta(days=1)
_CHUNK = 1000
# A list that lacks more than this part of the keys we know is not believed to be whole.
_BELIEVED = 0.5
_SAMPLE = 50


def reconcile(account: VendorAccount | None = None) -> Report:
    """Compare everything (or one account with its vendor), record it, and open or close tasks."""
    report = Report()
    accounts = [account] if account else list(VendorAccount.objects.order_by("pk"))
    if account is None:
        _compare_vault(report)
        report.findings += _owners_left()
    for one in accounts:
        _compare_vendor(one, report)
        _check_current(one, report)
    _tell(report, whole=account is None)
    return report


def _live() -> Iterator[KeyVersion]:
    found = KeyVersion.objects.filter(state__in=LIVE_STATES)
    return found.select_related("key__account", "key__environment").iterator(_CHUNK)


def _compare_vault(report: Report) -> None:
    """Rows without a secret, secrets without a row, and secrets that should be destroyed."""
    try:
        deletion_lock.lock_reason()
        lying = secret_store.list_paths(versions.AREA)
    except KeyServiceError as error:
        report.not_compared.append(f"Vault: {error.message}")
        return
    known = {str(path) for path in KeyVersion.objects.values_list("path", flat=True).iterator()}
    report.counts |= {"secrets": len(lying), "versions": len(known)}
    live = KeyVersion.objects.filter(state__in=LIVE_STATES).count()
    if live and not lying & known and not _ours(lying):
        report.not_compared.append(f"Vault lists none of our {live} live secrets: not believed.")
        return
    for version in _live():
        if str(version.path) not in lying:
            report.findings.append(_of(findings.ROW_WITHOUT_SECRET, version, version.created_at))
    marked = {str(path) for path in Intent.objects.values_list("path", flat=True).iterator()}
    # What a request is just recording is none; what was cut off stays named until it is destroyed.
    report.findings += _without_row(lying - known - stored_secrets.under_way(), marked, report)
    late = KeyVersion.objects.filter(
        state__in=_ENDED, destroyed_at__isnull=True, retired_at__lt=timezone.now() - _DESTROY_WITHIN
    ).exclude(key__in=hold_status.active_holds().values("key"))
    for version in late.select_related("key__account", "key__environment").iterator(_CHUNK):
        report.findings.append(_of(findings.NOT_DESTROYED, version, version.retired_at))


def _ours(paths: set[str]) -> bool:
    """Return whether secrets that no row names tell of our keys: the database may have forgotten."""
    names = {str(version.key) for version in _live()}
    for path in sorted(paths)[:_SAMPLE]:
        try:
            data = secret_store.read(versions.AREA, path)
        except KeyServiceError:
            continue
        if data.get("key_name") in names:
            return True
    return False


def _of(kind: str, version: KeyVersion, since: object = None) -> Finding:
    key = version.key
    when = since if hasattr(since, "year") else None
    tail = f", ending in {version.tail}" if version.tail else ""
    return Finding(
        kind,
        f"version {version.pk}",
        f"{version} ({version.state}{tail})",
        when,  # type: ignore[arg-type]
        key.account,
        key,
        version,
    )


def _without_row(paths: set[str], marked: set[str], report: Report) -> Iterator[Finding]:
    """Yield the secrets that no row names; marks of settled calls are none."""
    for path in sorted(paths):
        try:
            data = secret_store.read(versions.AREA, path)
        except secret_store.StoreMissing:
            continue
        except KeyServiceError as error:
            report.not_compared.append(f"Vault, path {path}: {error.message}")
            return
        if "secret" not in data:
            continue
        if path in marked and Intent.objects.filter(path=path, state=Intent.State.OPEN).exists():
            continue
        yield _lying(path, data)


def _lying(path: str, data: dict[str, str]) -> Finding:
    """Say what a secret without a row is: a copy of one that is on record, or one that nobody knows."""
    at = data.get("stored_at", "an unknown time")
    known = KeyVersion.objects.filter(fingerprint=fingerprint(Secret(data["secret"])))
    known = known.select_related("key__account", "key__environment")
    version = known.filter(state__in=LIVE_STATES).first() or known.first()
    # guard: copy told from a secret that nobody knows
    if version:
        what = f"a copy of the {version.state} secret of {version}, stored at {at}, path {path}"
        key = version.key
        return Finding(findings.COPY_OF_SECRET, path, what, None, key.account, key, version)
    whose = data.get("key_name", "a key that it does not name")
    what = f"a secret of {whose}, stored at {at}, path {path}"
    number = data.get("key", "")
    held = number.isdigit() and len(number) < 19 and bool(hold_status.held_among([int(number)]))
    return Finding(findings.SECRET_WITHOUT_ROW, path, what, held=held)


def _owners_left() -> Iterator[Finding]:
    left = KeyVersion.objects.filter(
        state=VersionState.CURRENT, key__member__isnull=False, key__member__is_active=False
    )
    for version in left.select_related("key__account", "key__environment", "key__member"):
        key = version.key
        what = f"{key}, of {key.member}, who is no longer active"
        yield Finding(findings.OWNER_LEFT, f"key {key.pk}", what, None, key.account, key)


def _compare_vendor(account: VendorAccount, report: Report) -> None:
    """Keys at the vendor that nobody knows, and keys of ours that the vendor does not list."""
    try:
        listed = _listed(account)
    except (VendorError, KeyServiceError) as error:
        text = error.text if isinstance(error, VendorError) else error.message
        report.not_compared.append(f"{account}: {text}")
        return
    if listed is None:
        return
    ours = KeyVersion.objects.filter(key__account=account).exclude(vendor_id="")
    by_id = {v.vendor_id: v for v in ours.select_related("key__account", "key__environment")}
    live = {vendor_id for vendor_id, v in by_id.items() if v.state in LIVE_STATES}
    there = {key.vendor_id for key in listed}
    report.counts[f"listed at {account}"] = len(listed)
    # guard: empty or partial list
    if live and len(live & there) < len(live) * _BELIEVED:
        report.not_compared.append(
            f"{account}: the vendor lists {len(live & there)} of the {len(live)} keys that we hold "
            "there. The list is not believed."
        )
        return
    report.findings += _at_vendor(account, listed, by_id)
    # guard: the comparison names an id of another secret
    report.findings += _ids_of_others(listed, by_id)
    for vendor_id in sorted(live - there):
        report.findings.append(_of(findings.MISSING_AT_VENDOR, by_id[vendor_id]))


def _listed(account: VendorAccount) -> list[ListedKey] | None:
    """Return the whole list, or None where the vendor has none to give.

    Without the management credential, where that is a key of the list itself.
    """
    provider = provider_of(account)
    if not provider.can_list or account.management_path is None:
        return None
    where = vendor_account(account, manage=True)
    assert where.management is not None
    listed = provider.list_all(where)
    ours = set(KeyVersion.objects.filter(key__account=account).values_list("vendor_id", flat=True))
    return [
        key
        for key in listed
        if key.vendor_id in ours or not secret_masks.fits(key.masked, where.management)
    ]


def _at_vendor(
    account: VendorAccount, listed: list[ListedKey], by_id: dict[str, KeyVersion]
) -> Iterator[Finding]:
    """Yield the live keys of a list that are no live version of ours, nor being made just now."""
    making = set(
        Intent.objects.filter(
            rotation__key__account=account, kind=Intent.Kind.CREATE, state=Intent.State.OPEN
        ).values_list("label", flat=True)
    )
    for key in listed:
        version = by_id.get(key.vendor_id)
        if key.disabled or key.label in making or (version and version.state in LIVE_STATES):
            continue
        if version:
            yield _of(findings.ALIVE_AFTER_DELETION, version, version.retired_at)
            continue
        # That it tells no use is no proof that there was none.
        at = key.last_used_at
        used = f"last used {at:%Y-%m-%d %H:%M} UTC" if at else "no use known"
        what = f"{account}: key {key.vendor_id} “{key.label}”, {used}"
        subject = f"account {account.pk} key {key.vendor_id}"
        yield Finding(findings.UNKNOWN_KEY, subject, what, key.created_at, account)


def _ids_of_others(listed: list[ListedKey], by_id: dict[str, KeyVersion]) -> Iterator[Finding]:
    """Yield the live versions whose unproven id the vendor shows beside another secret."""
    for key in listed:
        version = by_id.get(key.vendor_id)
        if (
            not key.masked
            or version is None
            or version.is_linked
            or version.state not in LIVE_STATES
        ):
            continue
        try:
            fits = secret_masks.fits(key.masked, versions.read_secret(version))
        except KeyServiceError:
            continue  # a secret that cannot be read is named elsewhere
        if fits is False:
            found = _of(findings.ID_OF_ANOTHER, version)
            what = f"{found.what}: its id {key.vendor_id} is that of “{key.masked}” at the vendor"
            yield replace(found, what=what)


def _check_current(account: VendorAccount, report: Report) -> None:
    """Ask the vendor about each current secret; one that cannot be told is not compared."""
    current = KeyVersion.objects.filter(state=VersionState.CURRENT, key__account=account)
    unclear = 0
    for version in current.select_related("key__account", "key__environment").iterator(_CHUNK):
        try:
            verdict = check_secret(account, versions.read_secret(version))
        except secret_store.StoreMissing:
            report.findings.append(_of(findings.ROW_WITHOUT_SECRET, version, version.created_at))
            continue
        except KeyServiceError as error:
            report.not_compared.append(f"{version}: {error.message}")
            continue
        versions.save_verdict(version, verdict)
        if verdict.answer == base.REFUSED:
            report.findings.append(_of(findings.REFUSED, version))
        unclear += verdict.answer == base.CANNOT_TELL
    if unclear:
        report.not_compared.append(f"{account}: the vendor gave no verdict on {unclear} keys.")


def _with_holds(found: Iterable[Finding]) -> list[Finding]:
    """Mark what is about a key on hold: nobody may be advised to end anything of it."""
    found = list(found)
    held = hold_status.held_among({one.key.pk for one in found if one.key})
    return [replace(one, held=True) if one.key and one.key.pk in held else one for one in found]


def _tell(report: Report, *, whole: bool) -> None:
    """Record the run; open a task for each finding, and close those that are gone.

    Only a whole and complete run closes any: what was not looked at is not known to be gone.
    """
    report.findings[:] = _with_holds({one.id: one for one in report.findings}.values())
    for finding in report.findings:
        parts = {"account": finding.account, "key": finding.key, "version": finding.version}
        text = f"{finding.what}. {finding.do} (Finding {finding.id}.)"
        open_alert(_ACTOR, HumanTask.Kind.FINDING, finding.about, text, **parts)  # type: ignore[arg-type]
    # guard: half an answer closes nothing
    if whole and report.complete:
        seen = {finding.about for finding in report.findings}
        still = HumanTask.objects.filter(
            kind=HumanTask.Kind.FINDING, closed_at=None, about__startswith="reconcile:"
        )
        for about in still.exclude(about__any=seen).values_list("about", flat=True):
            close_alert(_ACTOR, HumanTask.Kind.FINDING, about, "The comparison no longer finds it.")
    if whole:
        now = timezone.now()
        Heartbeat.objects.update_or_create(name="reconcile", defaults={"at": now})
    counts = json.dumps(report.counts)
    record(
        Action.INVENTORY_RECONCILED,
        _ACTOR,
        findings=len(report.findings),
        not_compared=report.not_compared[:20],
        counts=counts,
    )
