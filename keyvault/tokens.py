"""Service tokens: made from 200 random bits, shown once, kept only as a keyed digest.

Form: kvt_<public id>_<secret><checksum>. The checksum lets a mistyped token be refused without a
database look-up, and lets secret scanners find leaked ones; the public id is what is looked up.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from keyvault.audit.log import Actor, member_actor, record
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, Denied, KeyServiceError, NotFound
from keyvault.models import Application, Environment, Member, ServiceToken
from keyvault.permissions import Verb, may
from keyvault.secret_text import Secret

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 34  # 62^34 > 2^200
# Also published in README for secret scanners.
PATTERN = re.compile(r"kvt_([a-z0-9]{12})_([A-Za-z0-9]{34})([0-9a-f]{8})")
_LAST_USED_EVERY = timedelta(minutes=1)


class TokenRefused(KeyServiceError):
    """The token does not open anything: unknown, expired, revoked or damaged read alike."""

    code, status = "token_refused", 401

    def __init__(self) -> None:
        super().__init__("The service token is not valid. Check that it is complete and current.")


def digest(token: str) -> str:
    """Return the keyed digest under which a token is stored."""
    return hmac.new(settings.TOKEN_PEPPER.encode(), token.encode(), hashlib.sha256).hexdigest()


def issue(
    by: Member,
    name: str,
    application: Application,
    environment: Environment,
    expires_at: datetime | None = None,
) -> tuple[ServiceToken, Secret]:
    """Create a token for one application in one environment; the secret is never shown again.

    Raises NotFound or Denied when `by` may not manage the application, BadInput for an empty or
    odd name, Conflict for a used one.
    """
    if not may(by, Verb.VIEW, application):
        raise NotFound("There is no such application.")
    if not may(by, Verb.MANAGE, ServiceToken(application=application, environment=environment)):
        raise Denied("Only an owner of this application and environment may create tokens.")
    public_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
    body = f"kvt_{public_id}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    text = body + _checksum(body)
    token = ServiceToken(
        public_id=public_id,
        digest=digest(text),
        name=name.strip(),
        application=application,
        environment=environment,
        created_by=by,
        expires_at=expires_at,
    )
    try:
        token.clean_fields()
        with transaction.atomic():
            token.save()
            record(Action.TOKEN_CREATED, member_actor(by), token)
    except ValidationError as error:
        raise BadInput(f"The name does not fit: {' '.join(error.messages)}") from None
    except IntegrityError:
        raise Conflict(f"There is already a token named “{name}” there.") from None
    return token, Secret(text)


def revoke(by: Member, token: ServiceToken) -> None:
    """End a token for good; Conflict when it is revoked already."""
    if not may(by, Verb.MANAGE, token):
        raise NotFound("There is no such token.")
    with transaction.atomic():
        changed = ServiceToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if not changed:
            raise Conflict("This token is revoked already.")
        record(Action.TOKEN_REVOKED, member_actor(by), token)


def check(text: str) -> ServiceToken:
    """Return the live token that `text` is; raises TokenRefused without saying which part failed."""
    match = PATTERN.fullmatch(text)
    if not match or not hmac.compare_digest(_checksum(text[:-8]), match[3]):
        raise TokenRefused
    token = (
        ServiceToken.objects.select_related("application", "environment")
        .filter(public_id=match[1])
        .first()
    )
    # The same work whether or not the public id is known.
    good = hmac.compare_digest(digest(text), token.digest if token else "0" * 64)
    if not (token and good) or token.revoked_at or _expired(token):
        raise TokenRefused
    return token


def touch(token: ServiceToken) -> None:
    """Note that the token was used, at most once a minute."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _LAST_USED_EVERY:
        ServiceToken.objects.filter(pk=token.pk).update(last_used_at=now)


def anonymous_actor() -> Actor:
    """Return the actor for a caller whose token was refused."""
    return Actor("anonymous", "", "unknown caller")


def _expired(token: ServiceToken) -> bool:
    return token.expires_at is not None and token.expires_at <= timezone.now()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
