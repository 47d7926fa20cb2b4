"""The door for the company's directory of people (SCIM): who joins there, what changes, who leaves.

Whoever is deactivated there is out at once here; the next tick takes back all that they could reach.
Nobody gets a role by it, and nobody who was off-boarded comes back by it.
"""

import json
from collections.abc import Callable
from typing import Any

from allauth.account.models import EmailAddress
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from keyvault import hooks
from keyvault.access import roles, sessions
from keyvault.access.scim.resources import Kind, Person, address_of, name_of
from keyvault.audit.actors import Actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, NotFound
from keyvault.core.validators import require_clean
from keyvault.models import DirectoryEntry, Grant, Member

# What stands in the member's row, or is ours to say.
_NOT_SAID = ("id", "meta", "schemas", "userName", "externalId", "active", "groups")
_LARGEST = 20_000
_SOURCE = "the directory"


class _NoReturn(Exception):
    """Somebody who was off-boarded is to come back: an owner's to decide."""


def _actor() -> Actor:
    return system_actor("the directory of people (SCIM)")


def find(condition: Q | None = None) -> models.QuerySet[Member]:
    """Return the people whom the directory may see: all but those whom it deleted."""
    gone = Q(is_active=False, directory__deleted_at__isnull=False)
    # guard: who was deleted is not there
    found = Member.objects.exclude(gone).select_related("directory").order_by("pk")
    return found if condition is None else found.filter(condition)


def get(member_id: int) -> Member:
    """Return a person; raises NotFound, also for one whom the directory deleted."""
    found = find(Q(pk=member_id)).first()
    if found is None:
        raise NotFound("There is no such person.")
    return found


def describe(member: Member) -> Any:
    """Return the person as the directory described them, as far as it is true here now."""
    entry = _entry(member)
    said: dict[str, Any] = {"userName": member.username, **entry.said}
    person = Person.model_validate({**said, "active": member.is_active})
    person.external_id = entry.external_id or None
    if (person.user_name or "").strip().lower() != member.username:
        person.user_name = member.username
    if address_of(person) != member.email:
        emails = [{"value": member.email, "type": Kind.WORK, "primary": True}]
        person.emails = Person.model_validate({"userName": "-", "emails": emails}).emails
    if name_of(person) != member.get_full_name()[:150]:
        person.display_name = member.get_full_name() or None
    return person


def _entry(member: Member) -> DirectoryEntry:
    return getattr(member, "directory", None) or DirectoryEntry(member=member)


def add(person: Any) -> Member:
    """Record a person; raises BadInput, Conflict (code name_used) for a known address, name or id."""
    active = person.active is not False
    # guard: who is to be inactive is made inactive
    member = Member(is_active=active)
    member.set_unusable_password()
    entry = DirectoryEntry(not_begun=not active)
    _take(member, entry, person)
    try:
        with transaction.atomic():
            member.save(force_insert=True)
            entry.member = member
            entry.save(force_insert=True)
            record(Action.MEMBER_CREATED, _actor(), member, active=active)
    except IntegrityError:
        raise _known_already(person) from None
    return member


def change(member_id: int, edit: Callable[[Any], Any]) -> Member:
    """Make a person what `edit` makes of their description: all of it, or nothing.

    Raises NotFound, BadInput, and Conflict for the last owner, for one who was off-boarded, and (code
    name_used) for what another person has already; owners are told of the last two.
    """
    asked: list[Any] = []

    def noted(before: Any) -> Any:
        asked.append(edit(before))
        return asked[0]

    try:
        with transaction.atomic():
            member = _changed(member_id, noted)
    except IntegrityError:
        # guard: owners hear of a person named twice
        raise _known_already(asked[0], but=member_id) from None
    except _NoReturn:
        leaver = Member.objects.get(pk=member_id)
        raise hooks.refuse_return(leaver, _SOURCE) from None
    # guard: a refused return is over when the directory gives in
    hooks.close_return_request(member)
    return member


def _changed(member_id: int, edit: Callable[[Any], Any]) -> Member:
    """In the order of whoever off-boards people: owners first, then the person's row."""
    roles.lock_owners()
    Member.objects.select_for_update().filter(pk=member_id).first()
    member = get(member_id)
    entry = _entry(member)
    after = edit(describe(member))
    was_active, address, name = member.is_active, member.email, str(member)
    # guard: active cannot be taken away
    if after.active is None:
        raise BadInput(
            "“active” is true or false and cannot be taken away. Nothing was changed.",
            code="mutability",
        )
    # guard: nobody who left comes back by the directory
    if after.active and not was_active and not _never_here(member, entry):
        raise _NoReturn
    _take(member, entry, after)
    entry.deleted_at = None
    _store(member, entry, active=after.active, was_active=was_active)
    _tell_change(member, address, name)
    return member


def _never_here(member: Member, entry: DirectoryEntry) -> bool:
    """Tell who was recorded as inactive and has not begun: they know nothing and never could."""
    return entry.not_begun and member.last_login is None and member.returned_at is None


def _store(member: Member, entry: DirectoryEntry, *, active: bool, was_active: bool) -> None:
    if active and not was_active:
        member.is_active, member.left_at = True, None
    entry.not_begun = entry.not_begun and not active
    member.save(
        update_fields=["username", "email", "first_name", "last_name", "is_active", "left_at"]
    )
    entry.save()
    if was_active and not active:
        _deactivate(member)


def remove(member_id: int) -> None:
    """Deactivate a person and have the directory see them no more; Conflict for the last owner."""
    with transaction.atomic():
        roles.lock_owners()
        member = get(member_id)
        now = timezone.now()
        DirectoryEntry.objects.update_or_create(member=member, defaults={"deleted_at": now})
        _deactivate(member)
    hooks.close_return_request(member)


def _deactivate(member: Member) -> None:
    if not Member.objects.filter(pk=member.pk, is_active=True).update(is_active=False):
        return
    member.is_active = False
    # guard: last owner of a directory
    roles.require_an_owner()
    sessions.end(_actor(), member)
    record(Action.MEMBER_DEACTIVATED, _actor(), member)


def _take(member: Member, entry: DirectoryEntry, person: Any) -> None:
    """Take over what is used here and keep the rest as it was said; raises BadInput."""
    address = address_of(person)
    if not address or not (person.user_name or "").strip():
        raise BadInput(
            (
                "A person needs a user name and an e-mail address, in “emails” or as the user name. "
                "Nothing was changed."
            ),
            code="invalidValue",
        )
    member.username, member.email = person.user_name.strip().lower(), address
    if name_of(person) or {"name", "displayName"} & set(entry.said):
        member.first_name, member.last_name = name_of(person), ""
    entry.external_id = person.external_id or ""
    said = person.model_dump(mode="json", by_alias=True, exclude_none=True)
    entry.said = {name: one for name, one in said.items() if name not in _NOT_SAID}
    entry.said["userName"] = person.user_name
    entry.addresses = sorted({(one.value or "").lower() for one in person.emails or ()} - {""})
    require_clean(member)
    require_clean(entry, exclude=["member"])
    if len(json.dumps(entry.said)) > _LARGEST:
        raise BadInput(
            "The directory says more than 20 KB of this person. Nothing was changed.",
            code="tooMany",
        )


def _tell_change(member: Member, address: str, name: str) -> None:
    """Put a new name or address on record; owners hear of an address whose holder has a role."""
    if (member.email, str(member)) == (address, name):
        return
    record(Action.MEMBER_CHANGED, _actor(), member, was=f"{name} <{address}>", now=member.email)
    if member.email == address:
        return
    # Whoever proves the old address is not this person any more.
    # guard: an address that was given up opens nothing
    EmailAddress.objects.filter(user=member).delete()
    if Grant.objects.filter(Q(member=member) | Q(group__members=member)).exists():
        hooks.notify_owners(
            f"directory-address:{member.pk}:{member.email}",
            f"The directory gave {name} another address",
            f"{name} was {address} and is {member.email} now, with all their roles: whoever signs in "
            "with that address is this person. If that is not right, off-board them at once.",
        )


def _known_already(person: Any, but: int | None = None) -> Conflict:
    """Tell the owners, and ask about somebody who left: their address is still theirs here."""
    address, name = address_of(person), (person.user_name or "").strip().lower()
    same = Q(email=address) | Q(username=name)
    if person.external_id:
        same |= Q(directory__external_id=person.external_id)
    for other in Member.objects.filter(same, is_active=False).exclude(pk=but or 0)[:2]:
        hooks.refuse_return(other, _SOURCE)
    hooks.notify_owners(
        f"directory-double:{person.external_id or ''}:{name}:{address}"[:200],
        "The directory names a person twice",
        f"It says that somebody is {name} ({address}), and another person here has that user name, "
        "address or externalId already. Nothing was changed. Look which of the two is meant, and "
        "mend it in the directory.",
    )
    return Conflict(
        (
            f"There is a person with the user name “{name}”, the address “{address}” or this "
            "externalId already. Nothing was changed."
        ),
        code="name_used",
    )
