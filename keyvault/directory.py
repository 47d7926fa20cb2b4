"""The door for the company's directory of people (SCIM): who joins there, and who leaves.

Whoever is deactivated there is out at once here; the next tick takes back all that they could reach.
Nobody gets a role by it, and nobody who was off-boarded comes back by it.
"""

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from keyvault import grants, sessions
from keyvault.audit.log import Actor, record, system_actor
from keyvault.audit.models import Action
from keyvault.errors import Conflict, NotFound
from keyvault.models import Member
from keyvault.names import require_clean


def _actor() -> Actor:
    return system_actor("the directory of people (SCIM)")


def find(address: str | None = None) -> models.QuerySet[Member]:
    """Return the members, or the one of this address."""
    everybody = Member.objects.order_by("pk")
    return everybody if address is None else everybody.filter(email=address.strip().lower())


def get(member_id: int) -> Member:
    """Return a member; raises NotFound."""
    found = Member.objects.filter(pk=member_id).first()
    if found is None:
        raise NotFound(_("There is no such person."))
    return found


def add(address: str, name: str) -> Member:
    """Record a person who comes by single sign-on; raises BadInput, Conflict for a known address."""
    address = address.strip().lower()
    member = Member(username=address, email=address, first_name=name.strip())
    member.set_unusable_password()
    require_clean(member)
    try:
        with transaction.atomic():
            member.save(force_insert=True)
            record(Action.MEMBER_CREATED, _actor(), member)
    except IntegrityError:
        raise Conflict(
            _("There is a member “{address}” already.").format(address=address), code="name_used"
        ) from None
    return member


def set_active(member: Member, active: bool) -> None:
    """Deactivate a person at once; Conflict for the last owner, and for one who is to come back."""
    if active:
        if not member.is_active:
            raise Conflict(
                _("{member} was off-boarded: nobody comes back by the directory.").format(
                    member=member
                )
            )
        return
    with transaction.atomic():
        grants.lock_owners()
        if not Member.objects.filter(pk=member.pk, is_active=True).update(is_active=False):
            return
        grants.require_an_owner()
        sessions.end(_actor(), member)
        record(Action.MEMBER_DEACTIVATED, _actor(), member)
    member.refresh_from_db()
