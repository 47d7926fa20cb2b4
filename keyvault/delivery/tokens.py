"""Service tokens: made from 200 random bits, shown once, kept only as a keyed digest.

Form: kvt_<public id>_<secret><checksum>. The checksum lets a mistyped token be refused without a
database look-up, and lets secret scanners find leaked ones; the public id is what is looked up.
"""

import hmac
import ipaddress
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, lock_member, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied, KeyServiceError, NotFound
from keyvault.core.hashing import peppered
from keyvault.core.redaction import one_line
from keyvault.core.secret import Secret
from keyvault.core.validators import require_clean
from keyvault.delivery import token_secrets
from keyvault.inventory import secret_names
from keyvault.models import Application, Environment, Member, ServiceToken
from keyvault.models.approvals import ApprovalAction
from keyvault.models.disclosures import TokenDisclosure

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 34  # 62^34 > 2^200
# Also published in README for secret scanners.
PATTERN = re.compile(r"kvt_([a-z0-9]{12})_([A-Za-z0-9]{34})([0-9a-f]{8})")
_LAST_USED_EVERY = timedelta(minutes=1)
_LONGEST_OVERLAP = 30 * 86400
_MOST_NETWORKS = 20


class TokenRefused(KeyServiceError):
    """The token does not open anything: unknown, expired, revoked or damaged read alike."""

    code, status = "token_refused", 401

    def __init__(self) -> None:
        super().__init__("The service token is not valid. Check that it is complete and current.")


def issue(
    by: Member,
    name: str,
    application: Application,
    environment: Environment,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
) -> tuple[ServiceToken, Secret]:
    """Create a token for one application in one environment; the secret is never shown again.

    `networks`: where it may be used from, as CIDR; none is anywhere. Raises NotFound or Denied when
    `by` may not manage the application, BadInput for an empty or odd name, an end in the past or a
    network that is none, Conflict for a used name.
    """
    if not may(by, Permission.VIEW, application):
        raise NotFound("There is no such application.")
    if not may(
        by, Permission.MANAGE, ServiceToken(application=application, environment=environment)
    ):
        raise Denied("Only an owner of this application and environment may create tokens.")
    approvals.require(by, asked_for(name, application, environment, expires_at, networks))
    return make(by, name, application, environment, expires_at, networks)


def asked_for(
    name: str,
    application: Application,
    environment: Environment,
    expires_at: datetime | None,
    networks: Sequence[str] = (),
) -> Asked:
    """Return what a second person reads, where one must agree to a new token, and all it is held to.

    Raises BadInput for a name that is, or looks like, a secret.
    """
    secret_names.refuse_secret(name)
    until = f"until {expires_at:%Y-%m-%d %H:%M %Z}" if expires_at else "without an end"
    where = f"from {', '.join(networks)}" if networks else "from anywhere"
    what = (
        f"Create the service token “{one_line(name, 100)}” for {application} in {environment}, "
        f"{until}, {where}"
    )
    # guard: token held to its networks
    parameters = {
        "name": name,
        "application": application.pk,
        "environment": environment.pk,
        "expires_at": expires_at,
        "networks": list(networks),
    }
    return Asked(ApprovalAction.TOKEN, what, parameters, environment=environment)


def make(
    by: Member,
    name: str,
    application: Application,
    environment: Environment,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
) -> tuple[ServiceToken, Secret]:
    """Create a token for a caller that has asked whether `by` may; raises as `issue` does."""
    if expires_at is not None and expires_at <= timezone.now():
        raise BadInput("The token would end before it begins: its end lies in the past.")
    public_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
    text = _new_text(public_id)
    token = ServiceToken(
        public_id=public_id,
        digest=peppered(text),
        name=name.strip(),
        application=application,
        environment=environment,
        created_by=by,
        expires_at=expires_at,
        networks=normal_networks(networks),
    )
    require_clean(token)
    try:
        with transaction.atomic():
            lock_member(by)
            token.save()
            TokenDisclosure.objects.create(token=token, member=by, shown_at=timezone.now())
            record(Action.TOKEN_CREATED, member_actor(by), token)
    except IntegrityError:
        raise Conflict(f"There is already a token named “{name}” there.") from None
    return token, Secret(text)


def _new_text(public_id: str) -> str:
    body = f"kvt_{public_id}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return body + _checksum(body)


def renew(by: Member, token: ServiceToken, overlap_seconds: int = 86400) -> Secret:
    """Give a token a new text; the old one opens the same for `overlap_seconds`, then nothing.

    Older texts whose overlap still runs keep their own ends; with 0 seconds all of them end now. Raises
    NotFound, BadInput for an overlap beyond 30 days, Conflict when the token is revoked or too many
    former texts are in use.
    """
    if not may(by, Permission.MANAGE, token):
        raise NotFound("There is no such token.")
    if not 0 <= overlap_seconds <= _LONGEST_OVERLAP:
        raise BadInput(f"Let old and new overlap for 0 to {_LONGEST_OVERLAP} seconds (30 days).")
    what = f"Renew the service token {token}; the old text works on for {overlap_seconds} seconds"
    parameters = {"token": token.pk, "overlap": overlap_seconds}
    approvals.require(
        by, Asked(ApprovalAction.TOKEN, what, parameters, environment=token.environment)
    )
    text, now = _new_text(token.public_id), timezone.now()
    with transaction.atomic():
        # guard: held while a token is renewed
        lock_member(by)
        # Two that renew at once come one after the other, and each replaces what the other made.
        # guard: renewals one after the other
        live = ServiceToken.objects.select_for_update(no_key=True).filter(revoked_at__isnull=True)
        present = live.filter(pk=token.pk).first()
        if present is None:
            raise Conflict("This token is revoked: it cannot be renewed. Issue another one.")
        token_secrets.replace(present, peppered(text), now, timedelta(seconds=overlap_seconds), by)
        record(Action.TOKEN_RENEWED, member_actor(by), token, overlap_seconds=overlap_seconds)
    return Secret(text)


def normal_networks(networks: Sequence[str]) -> list[str]:
    """Return CIDR networks in their normal form; BadInput names the one that is none."""
    if len(networks) > _MOST_NETWORKS:
        raise BadInput(f"A token may be bound to {_MOST_NETWORKS} networks at most.")
    normal = []
    for text in networks:
        try:
            normal.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            raise BadInput(
                (
                    f"“{one_line(text, 60)}” is not a network. Write 10.1.0.0/16, 2001:db8::/32, or one "
                    "address. Nothing was stored."
                ),
                code="bad_network",
            ) from None
    return normal


def revoke(by: Member, token: ServiceToken) -> None:
    """End a token for good; Conflict when it is revoked already."""
    if not may(by, Permission.MANAGE, token):
        raise NotFound("There is no such token.")
    with transaction.atomic():
        changed = ServiceToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if not changed:
            raise Conflict("This token is revoked already.")
        record(Action.TOKEN_REVOKED, member_actor(by), token)


def check(text: str, source: str = "") -> ServiceToken:
    """Return the live token that `text` is; raises TokenRefused without saying which part failed.

    `source` is the caller's address; a token bound to networks opens nothing from elsewhere.
    """
    found = ServiceToken.objects.select_related("application", "environment")
    return require_good(found.filter(public_id=public_id_in(text)).first(), text, source)


def public_id_in(text: str) -> str:
    """Return the public id of a whole token; TokenRefused for any other text."""
    match = PATTERN.fullmatch(text)
    if not match or not hmac.compare_digest(_checksum(text[:-8]), match[3]):
        raise TokenRefused
    return match[1]


def require_good(token: ServiceToken | None, text: str, source: str) -> ServiceToken:
    """Return the token of this public id if `text` is it and it is live; raises TokenRefused."""
    # The same work whether or not the public id is known.
    given = peppered(text)
    good = hmac.compare_digest(given, token.digest if token else "0" * 64)
    former = token_secrets.former(token, given) if token else None
    if token is None or token.revoked_at or _expired(token) or not _from_here(token, source):
        raise TokenRefused
    if not good and former is None:
        raise TokenRefused
    token.used_text = token_secrets.PRESENT if good or former is None else former
    return token


def _from_here(token: ServiceToken, source: str) -> bool:
    if not token.networks:
        return True
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(network) for network in token.networks)


def touch(token: ServiceToken) -> None:
    """Note that the token was used, and by which of its texts, at most once a minute for each."""
    now = timezone.now()
    last = token_secrets.used_at(token, token.used_text)
    # The first use as a former text is always noted: whoever still goes on with it is seen at once.
    anew = token.used_text != token_secrets.PRESENT and token.former_used_at is None
    if anew or last is None or now - last > _LAST_USED_EVERY:
        token_secrets.note_use(token, now)


def _expired(token: ServiceToken) -> bool:
    return token.expires_at is not None and token.expires_at <= timezone.now()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
