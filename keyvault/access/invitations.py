"""Invitations: a link lets a new person in, and lets a known one start over.

A link carries a code that works once and for a week; only a keyed digest of it is kept. It stands
after the `#` of the address, so that neither servers nor logs on the way see it.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from keyvault.access import rate_limits
from keyvault.access.members import reset_sign_in
from keyvault.access.permissions import require_owner
from keyvault.audit.actors import anonymous_actor, member_actor
from keyvault.audit.log import record, record_now
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.core.hashing import peppered
from keyvault.core.request_context import current
from keyvault.core.secret import Secret
from keyvault.core.validators import require_clean
from keyvault.models import Invitation, Member

LIVES = timedelta(days=7)
_TRIES, _WINDOW = 20, 900


def invite(by: Member, email: str, *, name: str = "") -> tuple[Member, Secret]:
    """Record a person and return the link that lets them in, to be shown once.

    They have no role until somebody gives them one. Raises Denied, BadInput for an unusable address
    or name, Conflict for a known address.
    """
    require_owner(by, "invite people")
    address = email.strip()
    member = Member(username=address.lower(), email=address, first_name=name.strip())
    member.set_unusable_password()
    require_clean(member)
    try:
        with transaction.atomic():
            member.save(force_insert=True)
            record(Action.MEMBER_CREATED, member_actor(by), member)
            link = new_link(by, member)
    except IntegrityError:
        raise Conflict(
            f"There is a member “{address}” already. Nothing was stored.",
            code="name_used",
        ) from None
    return member, link


def invite_again(by: Member, member: Member) -> Secret:
    """Return a new link for somebody who lost their password or device; the old ones are void.

    Their sessions end, their password and second factors are removed: whoever has the link starts
    afresh, and it is on record who made it.
    """
    require_owner(by, "set back how people sign in")
    if by.pk == member.pk:
        raise Denied("Nobody sets back their own sign-in. Ask another owner.")
    if not member.is_active:
        raise Conflict(f"{member} is not active any more. Nothing was changed.")
    with transaction.atomic():
        reset_sign_in(by, member)
        return new_link(by, member)


def accept_invitation(code: str, password: str, *, name: str = "") -> Member:
    """Let the invited person choose a password; the link is used up by it.

    Raises Denied for a link that is unknown, used or too old, BadInput for a password that is too
    easy or a name that is odd.
    """
    source = rate_limits.network_of(current().source)
    if rate_limits.count_attempt("join", source, _WINDOW) > _TRIES:
        raise Denied("Too many tries. Wait a quarter of an hour.", code="locked_out")
    invitation = _open_invitation(code)
    member = invitation.member
    if name.strip():
        member.first_name = name.strip()
    require_clean(member)
    try:
        validate_password(password, member)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages), code="bad_password") from None
    with transaction.atomic():
        if not Invitation.objects.filter(pk=invitation.pk, used_at=None).update(
            used_at=timezone.now()
        ):
            raise _no_such_link()
        member.set_password(password)
        member.save(update_fields=["password", "first_name"])
        record(Action.MEMBER_JOINED, member_actor(member), member)
    return member


def new_link(by: Member, member: Member) -> Secret:
    """Return a new link in the caller's transaction, the only one that is still good."""
    code = f"kvi_{secrets.token_urlsafe(30)}"
    now = timezone.now()
    Invitation.objects.filter(member=member, used_at=None).update(used_at=now)
    Invitation.objects.create(
        member=member, digest=peppered(code), invited_by=by, expires_at=now + LIVES
    )
    record(Action.MEMBER_INVITED, member_actor(by), member)
    return Secret(f"{settings.BASE_URL}/join#{code}")


def _open_invitation(code: str) -> Invitation:
    found = (
        Invitation.objects.select_related("member")
        .filter(digest=peppered(code.strip()), used_at=None, expires_at__gt=timezone.now())
        .filter(member__is_active=True)
        .first()
    )
    if found is None:
        record_now(Action.MEMBER_JOINED, anonymous_actor(), outcome="denied", reason="no such link")
        raise _no_such_link()
    return found


def _no_such_link() -> Denied:
    return Denied(
        "This link is not valid any more: it works once, and for a week. Ask for another one.",
        code="link_refused",
    )
