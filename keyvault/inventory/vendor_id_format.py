"""What may be put on record as a key's id at its vendor: calls that end keys go by it."""

from django.db import connection

from keyvault.access.permissions import Permission, may
from keyvault.core.errors import BadInput, Conflict
from keyvault.inventory import secret_names
from keyvault.models import LIVE_STATES, KeyVersion, Member, VendorAccount

LONGEST = 200


def clean(text: str) -> str:
    """Return an id as typed, without space around it; BadInput for what is none, or is a secret."""
    vendor_id = text.strip()
    if len(vendor_id) > LONGEST or not vendor_id.isprintable():
        raise BadInput(
            (
                f"An id at the vendor has at most {LONGEST} visible characters. Nothing was changed. Copy "
                "it from the vendor's list."
            ),
            code="bad_vendor_id",
        )
    # guard: a secret is no id
    if secret_names.holds_known(vendor_id):
        raise BadInput(
            (
                "This is a key itself and not its id, so it is not repeated here. Nothing was changed. "
                "Copy the id from the vendor's list."
            ),
            code="id_is_secret",
        )
    return vendor_id


def require_free(
    by: Member, account: VendorAccount, vendor_id: str, but: KeyVersion | None = None
) -> None:
    """Raise Conflict when another live version of the account has this id: one of the two is wrong.

    In a transaction it holds until that ends. Names the key only to who may see it.
    """
    if not vendor_id:
        return
    if connection.in_atomic_block:
        VendorAccount.objects.select_for_update(no_key=True).filter(pk=account.pk).values_list(
            "pk"
        ).first()
    others = KeyVersion.objects.filter(
        key__account=account, vendor_id=vendor_id, state__in=LIVE_STATES
    )
    if but:
        others = others.exclude(pk=but.pk)
    other = others.select_related("key__account", "key__environment", "key__application").first()
    if other is None:
        return
    which = f" ({other})" if may(by, Permission.VIEW, other.key) else ""
    raise Conflict(
        (
            f"The id {vendor_id} is on record for another key of this account already{which}, and the "
            "vendor gives each key its own: one of the two is wrong. Nothing was stored. Look in the "
            "vendor's list, and correct the one that is wrong, or leave the id out."
        ),
        code="vendor_id_used",
    )
