"""Of which account at the vendor are the new key, the old key and the management credential?

A management credential of another account makes keys there that work, and that are somebody else's.
No such key is handed to a program: the vendor's own word tells, its list where it has no word.
"""

from keyvault.core import db_clock, secret_masks
from keyvault.core.hashing import fingerprint
from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret, provider_of, vendor_account
from keyvault.models import LIVE_STATES, PROVEN_LINKS, KeyVersion, VendorAccount
from keyvault.vendors.base import CANNOT_TELL, VALID, CheckResult, ListedKey
from rotation.engine.lease import Claim
from rotation.engine.outcomes import GiveUp, Outcome, Park, Retry
from rotation.engine.steps import replace_in_place
from rotation.models import Rotation, WaitingFor


def problems(rotation: Rotation) -> list[str]:
    """Return why the account's management credential must not be used for this key; asked before it is.

    Raises VendorError where the vendor does not say now.
    """
    old, account = rotation.old_version, rotation.key.account
    learn(account)
    if old is None:
        return []
    manager = manages(old)
    # guard: a management credential is not rotated as a key
    if manager:
        return [own_credential(manager)]
    # guard: a foreign credential is not used
    if account.vendor_account and old.vendor_account not in ("", account.vendor_account):
        return [
            f"The management credential of {account} belongs to the account {account.vendor_account} "
            f"at the vendor, and this key to {old.vendor_account}. Replace the credential on the "
            "account's page, then rotate again."
        ]
    return []


def learn(account: VendorAccount) -> None:
    """Note of an older management credential what is noted of a new one when it is given."""
    if account.management_fingerprint or account.management_path is None:
        return
    where = vendor_account(account, manage=True)
    assert where.management is not None
    told = provider_of(account).identify(where) if provider_of(account).account_header else ""
    account.management_fingerprint = fingerprint(where.management)
    account.vendor_account = told
    VendorAccount.objects.filter(pk=account.pk, management_path=account.management_path).update(
        management_fingerprint=account.management_fingerprint, vendor_account=told
    )


def manages(version: KeyVersion) -> VendorAccount | None:
    """Return the account whose management credential is this very key, by its secret or its id."""
    prints = [version.fingerprint]
    if version.vendor_id:
        same = KeyVersion.objects.filter(
            vendor_id=version.vendor_id, key__account__provider=version.key.account.provider
        )
        prints += same.exclude(pk=version.pk).values_list("fingerprint", flat=True)
    return VendorAccount.objects.filter(management_fingerprint__in=prints).first()


def own_credential(account: VendorAccount) -> str:
    """Return what a person does about a key that is a management credential."""
    return (
        f"This key is the management credential of {account} itself: a rotation would end what it "
        "works with, so it never ends it. Make another credential at the vendor, give it on the "
        "account's page (“Replace the credential”), then rotate this key."
    )


def compare(claim: Claim, new: CheckResult) -> Outcome | None:
    """Return what stands in the way of handing out the new key; None when its account is the old one's."""
    rotation = claim.rotation
    old, account = rotation.old_version, rotation.key.account
    if old is None:
        told = account.vendor_account
        return _foreign(new.account, told) if _differ(new.account, told) else None
    try:
        secret = versions.read_secret(old)
    except versions.LOST:
        secret = None  # a lost old secret is what this rotation repairs
    verdict = _ask(claim, old, secret) if secret else None
    if verdict and verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    alive = verdict is not None and verdict.answer == VALID
    told = (verdict.account if verdict else "") or old.vendor_account
    if _differ(new.account, told):
        return _foreign(new.account, told)
    # guard: other account
    if verdict and alive and verdict.facts != new.facts:
        return GiveUp(
            "The new key belongs to another account at the vendor: "
            f"it reports {new.facts}, the old one {verdict.facts}."
        )
    # guard: no key of another account by the vendor's list
    if new.account and told:
        return None
    return _by_list(rotation, old, secret if alive else None)


def _ask(claim: Claim, old: KeyVersion, secret: Secret) -> CheckResult:
    """Check the old secret, and note when: the vendor's word of its last use is measured by that."""
    sent = db_clock.now()
    verdict = check_secret(claim.rotation.key.account, secret)
    claim.note(old_asked_at=sent)
    claim.note_check(old, verdict)
    return verdict


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _foreign(new: str, old: str) -> GiveUp:
    return GiveUp(
        f"The new key belongs to another account at the vendor: to {new}, and the old one to {old}. "
        "The management credential is of the wrong account: replace it on the account's page."
    )


def _by_list(rotation: Rotation, old: KeyVersion, secret: Secret | None) -> Outcome | None:
    """Look for the old key in the list that made the new one; `secret` is the old one if it works."""
    new, account = rotation.new_version, rotation.key.account
    assert new is not None
    if new.source != "created" or replace_in_place.called(rotation):
        return None  # a person made it, or the vendor made it of the old one
    listed = provider_of(account).list_all(vendor_account(account, manage=True))
    if _stands_in(listed, old, secret) or _others_in(listed, account, new):
        return None
    if old.vendor_id and secret:
        return GiveUp(
            "The new key belongs to another account at the vendor: its list, by the account's "
            f"management credential, lacks the old key {old.vendor_id}, which works. Replace the "
            "credential on the account's page, or correct the id on the key's page."
        )
    if secret is None and old.is_linked:
        return None  # dead, and known to be of the credential's account while it lived
    return Park(
        "Nothing shows that the new key is of the old key's account at the vendor: its list names "
        "no key that is on record. Applications are not given it. Give the old key's id at the vendor "
        "on the key's page; or cancel, and add a key made by hand as a standby."
    )


def _stands_in(listed: list[ListedKey], old: KeyVersion, secret: Secret | None) -> bool:
    """Return whether the old key is in the list, by its id or by what is shown of its secret."""
    by_id = next((key for key in listed if old.vendor_id and key.vendor_id == old.vendor_id), None)
    if by_id:
        return secret is None or secret_masks.fits(by_id.masked, secret) is not False
    return secret is not None and any(secret_masks.fits(key.masked, secret) for key in listed)


def _others_in(listed: list[ListedKey], account: VendorAccount, new: KeyVersion) -> bool:
    """Return whether the list has another live key of the account whose id is proven."""
    known = KeyVersion.objects.filter(
        key__account=account,
        state__in=LIVE_STATES,
        link__in=PROVEN_LINKS,
        vendor_id__in=[key.vendor_id for key in listed],
    )
    return known.exclude(pk=new.pk).exists()
