"""The door to consumers: record them, give them a token and a webhook, take acknowledgements.

An acknowledgement proves possession: HMAC-SHA-256 over a nonce of ours, keyed with the secret. A
proof for another version, or by another token, is refused and recorded.
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.core import signing
from django.db import transaction
from django.utils import timezone

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor, token_actor
from keyvault.audit.log import record, record_now
from keyvault.audit.models import Action
from keyvault.core import outbound_addresses
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.core.redaction import one_line
from keyvault.core.secret import Secret
from keyvault.delivery import fetch, instances, tokens
from keyvault.inventory import stored_secrets, versions
from keyvault.models import ApiKey, Application, Environment, KeyVersion, Member, ServiceToken
from keyvault.models.approvals import ApprovalAction
from rotation.consumers.webhooks import WEBHOOKS
from rotation.models import Acknowledgement, Consumer
from rotation.queue import look_now, open_rotation

NONCE_SECONDS = 300
_SALT = "keyvault.acknowledge"


@dataclass
class NewConsumer:
    """A consumer that was just recorded, with the two secrets that are shown once."""

    consumer: Consumer
    token: Secret
    webhook_secret: Secret | None


def add_consumer(
    by: Member,
    name: str,
    application: Application,
    environment: Environment,
    *,
    webhook_url: str = "",
    expires_at: datetime | None = None,
) -> NewConsumer:
    """Record a running place of an application, with a token of its own.

    Raises NotFound, Denied, Conflict on a used name, BadInput on an unusable webhook address.
    """
    if webhook_url:
        outbound_addresses.require_safe(webhook_url, "A webhook's")
    if not may(
        by, Permission.MANAGE, ServiceToken(application=application, environment=environment)
    ):
        raise Denied("Only an owner of this application and environment may add consumers.")
    approvals.require(by, *_asked_for(name, application, environment, webhook_url, expires_at))
    path, webhook_secret = _webhook_secret() if webhook_url else (None, None)
    with stored_secrets.saving(path):
        token, text = tokens.make(by, name, application, environment, expires_at)
        consumer = Consumer.objects.create(
            application=application,
            environment=environment,
            name=name,
            token=token,
            webhook_url=webhook_url,
            webhook_path=path,
        )
        record(Action.CONSUMER_CHANGED, member_actor(by), consumer, added=True)
    return NewConsumer(consumer, text, webhook_secret)


def _asked_for(
    name: str,
    application: Application,
    environment: Environment,
    webhook_url: str,
    expires_at: datetime | None,
) -> list[Asked]:
    """Return what second persons may have to agree to: its token, and where its webhook leads."""
    asked = [tokens.asked_for(name, application, environment, expires_at)]
    if webhook_url:
        where = f"{application} in {environment}"
        what = f"Tell “{one_line(name, 100)}” of {where} by a webhook to {webhook_url}"
        parameters = {"name": name, "application": application.pk, "webhook": webhook_url}
        asked.append(Asked(ApprovalAction.WEBHOOK, what, parameters, environment=environment))
    return asked


def remove_consumer(by: Member, consumer: Consumer) -> None:
    """Take a consumer out of use: its token ends, and no rotation waits for it any more."""
    if not may(by, Permission.MANAGE, consumer.token):
        raise NotFound("There is no such consumer.")
    with transaction.atomic():
        if not Consumer.objects.filter(pk=consumer.pk, active=True).update(active=False):
            raise Conflict("This consumer is out of use already.")
        stored_secrets.release_secret(WEBHOOKS, consumer.webhook_path)
        if consumer.token.revoked_at is None:
            tokens.revoke(by, consumer.token)
        record(Action.CONSUMER_CHANGED, member_actor(by), consumer, removed=True)


def _webhook_secret() -> tuple[uuid.UUID, Secret]:
    secret = Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    return stored_secrets.store_secret(WEBHOOKS, {"secret": secret.reveal()}), secret


def nonce(token_text: str, key_id: int) -> tuple[str, int]:
    """Return a nonce that is good for five minutes for this token and key, and the version now."""
    token = fetch.authenticate(token_text)
    key = fetch.reachable_key(token, key_id)
    if key.current is None:
        raise Conflict("This key has no current secret to acknowledge.")
    value = f"{token.pk}:{key.pk}:{secrets.token_urlsafe(16)}"
    return signing.TimestampSigner(salt=_SALT).sign(value), key.current.number


def acknowledge(
    token_text: str, key_id: int, version: int, nonce: str, proof: str, instance: str = ""
) -> str:
    """Take the word of one copy, with proof, that it holds this version now; returns its name.

    `instance` is which copy of the program it is: it speaks for itself alone. A token without a
    consumer proves as well, so that nobody need wait for it. Raises TokenRefused, NotFound, BadInput
    for a stale nonce, a wrong proof or an odd instance, Conflict when the version is not the current
    one. Repeating it changes nothing.
    """
    copy = instances.named(instance)
    token = fetch.authenticate(token_text)
    key = fetch.reachable_key(token, key_id)
    _require_fresh(token, key, nonce)
    current = key.current
    if current is None or current.number != version:
        raise Conflict(f"Version {version} is not the current one; fetch the key again.")
    _require_proof(token, key, current, nonce, proof)
    consumer = Consumer.objects.filter(token=token, active=True).first()
    _note(consumer, key, current, token, copy)
    return (consumer or token).name


def proof_of(secret: Secret, nonce: str, key_id: int, version: int) -> str:
    """Return the proof that a holder of `secret` computes, in hex."""
    message = f"keyvault-ack:v1:{nonce}:{key_id}:{version}"
    return hmac.new(secret.reveal().encode(), message.encode(), hashlib.sha256).hexdigest()


def _require_fresh(token: ServiceToken, key: ApiKey, nonce: str) -> None:
    try:
        value = signing.TimestampSigner(salt=_SALT).unsign(nonce, max_age=NONCE_SECONDS)
    except signing.BadSignature:
        raise BadInput("The nonce is not ours or is too old; ask for a new one.") from None
    if not value.startswith(f"{token.pk}:{key.pk}:"):
        raise BadInput("The nonce was given for another token or key; ask for a new one.")


def _require_proof(
    token: ServiceToken, key: ApiKey, version: KeyVersion, nonce: str, proof: str
) -> None:
    wanted = proof_of(versions.read_secret(version), nonce, key.pk, version.number)
    # guard: possession proof
    if hmac.compare_digest(wanted.encode(), proof.encode()):
        return
    record_now(
        Action.CONSUMER_ACKNOWLEDGED,
        token_actor(token),
        key,
        outcome="denied",
        reason="wrong proof",
        version=version.number,
    )
    raise BadInput(
        "The proof does not match: this consumer does not hold the current secret. Fetch it again.",
        code="wrong_proof",
    )


def _note(
    consumer: Consumer | None, key: ApiKey, version: KeyVersion, token: ServiceToken, copy: str
) -> None:
    with transaction.atomic():
        changed = instances.prove(token, key, version, copy)
        if consumer:
            _note_consumer(consumer, key, version)
        if not changed:
            return
        actor, number = token_actor(token), version.number
        record(Action.CONSUMER_ACKNOWLEDGED, actor, key, version=number, copy=copy)
    rotation = open_rotation(key)
    if rotation:
        look_now(rotation)


def _note_consumer(consumer: Consumer, key: ApiKey, version: KeyVersion) -> None:
    """Keep the last version that any copy of a consumer proved to hold, and since when."""
    said = {"version": version, "at": timezone.now()}
    proofs = Acknowledgement.objects
    if not proofs.get_or_create(consumer=consumer, key=key, defaults=said)[1]:
        proofs.filter(consumer=consumer, key=key).exclude(version=version).update(**said)
