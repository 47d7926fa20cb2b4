"""Channels: chats and programs that are notified beside people."""

import base64
import secrets
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import outbound_addresses
from keyvault.core.errors import Conflict, NotFound
from keyvault.core.hashing import peppered
from keyvault.core.redaction import one_line
from keyvault.core.secret import Secret
from keyvault.core.validators import require_clean
from keyvault.inventory import stored_secrets
from keyvault.models import Application, Member
from keyvault.models.approvals import ApprovalAction
from rotation.consumers.webhooks import WEBHOOKS
from rotation.models import Notification, NotificationChannel, NotificationDelivery
from rotation.notifications import apprise
from rotation.notifications.notify import NewNotification, notify


@dataclass(frozen=True)
class NewChannel:
    """A hook that was just added; the signing secret is shown once, and only programs have one."""

    hook: NotificationChannel
    secret: Secret | None


def add_channel(
    by: Member,
    name: str,
    kind: NotificationChannel.Kind,
    url: str,
    *,
    application: Application | None = None,
    only_urgent: bool = False,
) -> NewChannel:
    """Have a chat or a program told of everything, or of one application; the address goes to Vault.

    Raises Denied, BadInput for an address that is unusable, Conflict for a used name.
    """
    require_owner(by, "say who is told beside people")
    hook = NotificationChannel(
        name=name.strip(),
        kind=kind,
        host=_host(kind, url),
        application=application,
        only_urgent=only_urgent,
        created_by=by,
    )
    require_clean(hook, exclude=["path"])
    if NotificationChannel.objects.filter(name=hook.name).exists():
        raise _used(hook.name)
    what = f"Tell “{one_line(hook.name, 100)}” at {hook.host} of {application or 'everything'}"
    parameters = {"hook": hook.name, "kind": kind, "host": hook.host, "url": url}
    approvals.require(by, Asked(ApprovalAction.WEBHOOK, what, _without_address(parameters)))
    secret = None
    kept = {"url": url}
    if kind == NotificationChannel.Kind.SIGNED:
        secret = Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        kept["secret"] = secret.reveal()
    hook.path = stored_secrets.store_secret(WEBHOOKS, kept)
    try:
        with stored_secrets.saving(hook.path):
            hook.save(force_insert=True)
            record(Action.HOOK_CHANGED, member_actor(by), hook, added=True, host=hook.host)
    except IntegrityError:
        raise _used(hook.name) from None
    return NewChannel(hook, secret)


def _host(kind: NotificationChannel.Kind, url: str) -> str:
    """Return where the address leads, as people may see it; BadInput for one that is unusable."""
    if kind == NotificationChannel.Kind.APPRISE:
        return apprise.require_usable(url)
    outbound_addresses.require_safe(url, "A hook's")
    return urlsplit(url).hostname or ""


def _without_address(parameters: dict[str, str]) -> dict[str, str]:
    """The agreement is held to the address by a digest: the address itself may be as good as a key."""
    return {**parameters, "url": peppered(parameters["url"])}


def remove_channel(by: Member, hook: NotificationChannel) -> None:
    """Tell it nothing any more; Conflict when it is gone already."""
    require_owner(by, "say who is told beside people")
    with transaction.atomic():
        record(Action.HOOK_CHANGED, member_actor(by), hook, added=False, host=hook.host)
        if not NotificationChannel.objects.filter(pk=hook.pk).delete()[0]:
            raise Conflict("It was removed already.")
        stored_secrets.release_secret(WEBHOOKS, hook.path)


def visible_channels(by: Member) -> QuerySet[NotificationChannel]:
    """Return the hooks, for owners of the installation."""
    require_owner(by, "look at who is told beside people")
    return NotificationChannel.objects.select_related("application")


def get_channel(by: Member, hook_id: int) -> NotificationChannel:
    """Return a hook; raises Denied, NotFound."""
    found = visible_channels(by).filter(pk=hook_id).first()
    if found is None:
        raise NotFound("There is no such hook.")
    return found


def send_test(by: Member, hook: NotificationChannel | None = None) -> Notification:
    """Send a test to the hook, or by mail to oneself; what came of it stands in the delivery log."""
    about = f"test:{uuid.uuid4().hex}"
    where = str(hook) if hook else by.email
    news = NewNotification(
        about,
        Notification.Kind.TEST,
        f"A test to {where}",
        f"{by} asked for this test.",
        "/notices/",
    )
    if hook is None:
        # One transaction: no hook is to hear of it, not even for a moment.
        with transaction.atomic():
            notify(news, [by])
            NotificationDelivery.objects.filter(notice__about=about, channel="hook").delete()
    else:
        require_owner(by, "test it")
        with transaction.atomic():
            notify(news, [])
            notice = Notification.objects.get(about=about)
            notice.messages.all().delete()
            NotificationDelivery.objects.create(
                notice=notice, channel="hook", hook=hook, due_at=timezone.now()
            )
    return Notification.objects.get(about=about)


def _used(name: str) -> Conflict:
    return Conflict(
        f"There is a hook “{name}” already. Nothing was stored.",
        code="name_used",
    )
