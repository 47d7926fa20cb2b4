"""Create the first owner, with a password that is printed once."""

import secrets
import string
from typing import Any

from django.core.management.base import CommandParser
from django.db import IntegrityError, transaction

from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict
from keyvault.management.base import ServiceCommand, system_user
from keyvault.models import Grant, Member, Role

_LENGTH = 24
# Without characters that are easily taken for one another.
_ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set("0O1lI")))


class Command(ServiceCommand):
    help = "Create an owner of the whole installation; prints a random password once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="The e-mail address to sign in with.")
        parser.add_argument("--name", default="", help="The person's name.")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].strip()
        password = create_owner(email, options["name"].strip())
        if password is None:
            self.say(options, {"created": False}, f"{email} is an owner already.")
            return
        told = f"Owner created: {email}\nPassword, shown only now: {password}"
        self.say(options, {"created": True, "email": email, "password": password}, told)


def create_owner(email: str, name: str) -> str | None:
    """Create the member and the grant, and return the password; None when both are there.

    Raises ValidationError for an address that is none, Conflict for a member who is not an owner.
    """
    known = Member.objects.filter(email__iexact=email).first()
    if known:
        _require_owner(known)
        return None
    password = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    member = Member(username=email.lower(), email=email, first_name=name, is_staff=True)
    member.set_password(password)
    member.full_clean()
    actor = system_actor(f"createowner run by {system_user()}")
    try:
        with transaction.atomic():
            member.save()
            grant = Grant.objects.create(member=member, role=Role.OWNER)
            record(Action.MEMBER_CREATED, actor, member)
            record(Action.GRANT_CHANGED, actor, member, added=True, grant=str(grant))
    except IntegrityError:
        raise Conflict(f"Somebody created {email} at this moment. Nothing was changed.") from None
    return password


def _require_owner(member: Member) -> None:
    if not may(member, Permission.MANAGE):
        raise Conflict(
            f"{member.email} is a member already, but not an active owner. Nothing was changed. "
            "Let an owner give this person the role, or choose another address."
        )
