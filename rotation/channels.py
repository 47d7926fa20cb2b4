"""The door to how people are told: their own wishes, and the chats and programs that are told too."""

import base64
import secrets
import uuid
from dataclasses import dataclass
from datetime import time
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import approvals, leftovers
from keyvault.approval_models import Act
from keyvault.approvals import Asked
from keyvault.audit.log import member_actor, record
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, NotFound
from keyvault.fingerprints import peppered
from keyvault.models import Application, Member
from keyvault.names import require_clean
from keyvault.permissions import require_owner
from keyvault.redaction import one_line
from keyvault.secret_text import Secret
from rotation import addresses, apprising
from rotation.models import Hook, Message, Notice, Preference
from rotation.notices import News, tell
from rotation.outbox import WEBHOOKS


@dataclass(frozen=True)
class NewHook:
    """A hook that was just added; the signing secret is shown once, and only programs have one."""

    hook: Hook
    secret: Secret | None


def add_hook(
    by: Member,
    name: str,
    kind: Hook.Kind,
    url: str,
    *,
    application: Application | None = None,
    only_urgent: bool = False,
) -> NewHook:
    """Have a chat or a program told of everything, or of one application; the address goes to Vault.

    Raises Denied, BadInput for an address that is unusable, Conflict for a used name.
    """
    require_owner(by, "say who is told beside people")
    hook = Hook(
        name=name.strip(),
        kind=kind,
        host=_host(kind, url),
        application=application,
        only_urgent=only_urgent,
        created_by=by,
    )
    require_clean(hook, exclude=["path"])
    if Hook.objects.filter(name=hook.name).exists():
        raise _used(hook.name)
    what = f"Tell “{one_line(hook.name, 100)}” at {hook.host} of {application or 'everything'}"
    parameters = {"hook": hook.name, "kind": kind, "host": hook.host, "url": url}
    approvals.require(by, Asked(Act.WEBHOOK, what, _without_address(parameters)))
    secret = None
    kept = {"url": url}
    if kind == Hook.Kind.SIGNED:
        secret = Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        kept["secret"] = secret.reveal()
    hook.path = leftovers.write(WEBHOOKS, kept)
    try:
        with leftovers.saving(hook.path):
            hook.save(force_insert=True)
            record(Action.HOOK_CHANGED, member_actor(by), hook, added=True, host=hook.host)
    except IntegrityError:
        raise _used(hook.name) from None
    return NewHook(hook, secret)


def _host(kind: Hook.Kind, url: str) -> str:
    """Return where the address leads, as people may see it; BadInput for one that is unusable."""
    if kind == Hook.Kind.APPRISE:
        return apprising.require_usable(url)
    addresses.require_safe(url, "A hook's")
    return urlsplit(url).hostname or ""


def _without_address(parameters: dict[str, str]) -> dict[str, str]:
    """The agreement is held to the address by a digest: the address itself may be as good as a key."""
    return {**parameters, "url": peppered(parameters["url"])}


def remove_hook(by: Member, hook: Hook) -> None:
    """Tell it nothing any more; Conflict when it is gone already."""
    require_owner(by, "say who is told beside people")
    with transaction.atomic():
        record(Action.HOOK_CHANGED, member_actor(by), hook, added=False, host=hook.host)
        if not Hook.objects.filter(pk=hook.pk).delete()[0]:
            raise Conflict(_("It was removed already."))
        leftovers.leave(WEBHOOKS, hook.path)


def visible_hooks(by: Member) -> QuerySet[Hook]:
    """Return the hooks, for owners of the installation."""
    require_owner(by, "look at who is told beside people")
    return Hook.objects.select_related("application")


def get_hook(by: Member, hook_id: int) -> Hook:
    """Return a hook; raises Denied, NotFound."""
    found = visible_hooks(by).filter(pk=hook_id).first()
    if found is None:
        raise NotFound(_("There is no such hook."))
    return found


def send_test(by: Member, hook: Hook | None = None) -> Notice:
    """Send a test to the hook, or by mail to oneself; what came of it stands in the delivery log."""
    about = f"test:{uuid.uuid4().hex}"
    where = str(hook) if hook else by.email
    news = News(
        about, Notice.Kind.TEST, f"A test to {where}", f"{by} asked for this test.", "/notices/"
    )
    if hook is None:
        # One transaction: no hook is to hear of it, not even for a moment.
        with transaction.atomic():
            tell(news, [by])
            Message.objects.filter(notice__about=about, channel="hook").delete()
    else:
        require_owner(by, "test it")
        with transaction.atomic():
            tell(news, [])
            notice = Notice.objects.get(about=about)
            notice.messages.all().delete()
            Message.objects.create(notice=notice, channel="hook", hook=hook, due_at=timezone.now())
    return Notice.objects.get(about=about)


def preference_of(member: Member) -> Preference:
    """Return how the person wants to be told; what nobody has chosen yet is not stored."""
    return Preference.objects.filter(member=member).first() or Preference(member=member)


def set_preference(
    by: Member,
    *,
    mail: bool,
    only_urgent: bool,
    weekly: bool,
    time_zone: str,
    quiet_from: time | None = None,
    quiet_to: time | None = None,
) -> Preference:
    """Choose how oneself is told; raises BadInput for half quiet hours or an unknown zone."""
    if time_zone not in available_timezones():
        raise BadInput(
            _("“{one_line}” is not a known time zone. Nothing was changed.").format(
                one_line=one_line(time_zone, 60)
            )
        )
    if (quiet_from is None) != (quiet_to is None):
        raise BadInput(_("Quiet hours need a beginning and an end. Nothing was changed."))
    chosen, _made = Preference.objects.update_or_create(
        member=by,
        defaults={
            "mail": mail,
            "only_urgent": only_urgent,
            "weekly": weekly,
            "time_zone": time_zone,
            "quiet_from": quiet_from,
            "quiet_to": quiet_to,
        },
    )
    return chosen


def inbox(by: Member) -> QuerySet[Message]:
    """Return what this person was told, with the notices."""
    mine = Message.objects.filter(member=by, channel=Message.Channel.CONSOLE)
    return mine.select_related("notice")


def mark_read(by: Member) -> None:
    """Note that the person has seen what they were told."""
    inbox(by).filter(read_at=None).update(read_at=timezone.now())


def log(by: Member) -> QuerySet[Message]:
    """Return what went out to others, for owners: to whom, how, and what came of it."""
    require_owner(by, "look at the delivery log")
    sent = Message.objects.exclude(channel=Message.Channel.CONSOLE)
    return sent.select_related("notice", "member", "hook")


def _used(name: str) -> Conflict:
    return Conflict(
        _("There is a hook “{name}” already. Nothing was stored.").format(name=name),
        code="name_used",
    )
