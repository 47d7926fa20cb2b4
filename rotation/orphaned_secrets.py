"""Destroy what lies in Vault and nothing names: what a removal left, what was refused, what was cut off.

Web processes write secrets and may destroy none; keyvault/inventory/stored_secrets.py says what is whose.
"""

import logging

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.core.errors import KeyServiceError
from keyvault.core.hashing import fingerprint, last_four
from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.inventory.stored_secrets import SETTLED_AFTER
from keyvault.models import ApiKey, KeyVersion, OrphanedSecret, VendorAccount
from keyvault.vault import secret_store
from rotation import lost_secrets
from rotation.human_tasks import close_alert, is_open, open_alert
from rotation.models import HumanTask

log = logging.getLogger(__name__)
ABOUT = "leftovers"
_BATCH = 50
_ACTOR = system_actor("destroying what nothing names")


def destroy_all() -> int:
    """Destroy what has been left for a while; what Vault refuses is told and tried again."""
    # guard: leftover given time
    old = OrphanedSecret.objects.filter(since__lte=timezone.now() - SETTLED_AFTER)
    # What was refused before comes last: it holds up nothing else.
    old = old.order_by(F("doomed_at").asc(nulls_first=True), "pk")
    refused, done = "", 0
    for one in old[:_BATCH]:
        # Taken first, in one statement: from now on nobody can keep it.
        if not OrphanedSecret.objects.filter(pk=one.pk).update(doomed_at=Now()):
            continue
        try:
            # guard: secret on record is no leftover
            if not _is_named(one):
                _tell_of_paste(one)
                secret_store.destroy(one.area, one.path)
        except secret_store.StoreDenied as error:
            refused = error.message
            continue
        except KeyServiceError as error:
            log.warning("leftover not destroyed", extra={"path": one.path, "error": str(error)})
            break
        OrphanedSecret.objects.filter(pk=one.pk).delete()
        done += 1
    _tell(refused, done)
    lost_secrets.close_over()
    return done


def _is_named(one: OrphanedSecret) -> bool:
    """Return whether a row names it after all: adopted by a person, or by a database that forgot."""
    return (
        KeyVersion.objects.filter(path=one.path).exists()
        or VendorAccount.objects.filter(management_path=one.path).exists()
    )


def _tell_of_paste(one: OrphanedSecret) -> None:
    """Tell of a pasted secret that is on record nowhere: its key lives on at the vendor, unknown to us."""
    if one.area != versions.AREA:
        return
    try:
        data = secret_store.read(one.area, one.path)
    except secret_store.StoreMissing:
        return
    secret = Secret(data.get("secret", ""))
    known = fingerprint(secret)
    if not len(secret) or KeyVersion.objects.filter(fingerprint=known).exists():
        return
    ending = f" ending in {last_four(secret)}" if last_four(secret) else ""
    text = (
        f"A key{ending} was pasted for {data.get('key_name', 'an unnamed key')} at "
        f"{data.get('stored_at', 'an unknown time')}, and the request was cut off before it was "
        "recorded. Nothing uses it and its copy in Vault is destroyed; the key lives on at the "
        "vendor. Paste it again if you have it, else delete it in the vendor's dashboard."
    )
    number = data.get("key", "")
    named = ApiKey.objects.select_related("account").filter(pk=int(number) if number else 0)
    key = named.first()
    account = key.account if key else _account_in(data)
    lost_secrets.tell(_ACTOR, known, text, key=key, account=account)


def _account_in(data: dict[str, str]) -> VendorAccount | None:
    """Return the account of a key that was never recorded, by the name that lies beside its secret."""
    return VendorAccount.objects.filter(name=data.get("key_name", "").split(" / ", 1)[0]).first()


def _tell(refused: str, done: int) -> None:
    if refused:
        text = (
            f"Secrets that nothing uses any more stay in Vault: {refused} "
            "Write the worker's policy anew with deploy/vault-setup."
        )
        open_alert(_ACTOR, HumanTask.Kind.FINDING, ABOUT, text)
    elif done and is_open(HumanTask.Kind.FINDING, ABOUT):
        close_alert(_ACTOR, HumanTask.Kind.FINDING, ABOUT, "They are destroyed.")
