"""Calendars whose events are freezes: read each hour; one that is away leaves what it said last.

Its address may be as good as a password, so it lies in Vault, and nothing here shows it.
"""

import logging
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import leftovers, secret_store
from keyvault.audit.log import Actor, member_actor, record, system_actor
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, KeyServiceError
from keyvault.models import Environment, Member
from keyvault.names import require_clean
from keyvault.permissions import require_owner
from rotation import addresses, freezes, posting
from rotation.freezes import Event
from rotation.human_tasks import close_alert, open_alert
from rotation.models import Freeze, FreezeFeed, HumanTask
from rotation.outbox import WEBHOOKS
from rotation.replanning import replan

log = logging.getLogger(__name__)
_EVERY, _AGAIN = timedelta(hours=1), timedelta(minutes=10)
_SECONDS = 15.0
# Away for so long is told: the freezes that it said last still hold.
_TOLD_AFTER = timedelta(hours=6)


def add_feed(by: Member, name: str, url: str, environment: Environment | None = None) -> FreezeFeed:
    """Have a calendar's events freeze rotations, everywhere or in one environment.

    Raises Denied, BadInput for an address that is unusable, or Conflict on a used name.
    """
    require_owner(by, "say when nothing rotates")
    addresses.require_safe(url, "A calendar's")
    feed = FreezeFeed(
        name=name.strip(),
        host=urlsplit(url).hostname or "",
        environment=environment,
        next_read_at=timezone.now(),
        created_by=by,
    )
    require_clean(feed, exclude=["path"])
    feed.path = leftovers.write(WEBHOOKS, {"url": url})
    try:
        with leftovers.saving(feed.path):
            feed.save(force_insert=True)
            record(Action.FREEZE_CHANGED, member_actor(by), feed, added=True)
    except IntegrityError:
        raise Conflict(
            _("There is a calendar named “{feed}” already.").format(feed=feed.name)
        ) from None
    return feed


def end_feed(by: Member, feed: FreezeFeed) -> None:
    """Remove a calendar with its freezes; what they held back is planned anew."""
    require_owner(by, "say when nothing rotates")
    with transaction.atomic():
        record(Action.FREEZE_CHANGED, member_actor(by), feed, added=False)
        environment = feed.environment
        close_alert(member_actor(by), HumanTask.Kind.FINDING, _about(feed), "It was removed.")
        leftovers.leave(WEBHOOKS, feed.path)
        feed.delete()
        replan(environment, strict=False)


def read_due() -> int:
    """Read the calendars whose hour has come; returns how many could be read. Never raises for one."""
    done = 0
    for feed in FreezeFeed.objects.filter(next_read_at__lte=timezone.now()).order_by("pk")[:20]:
        now = timezone.now()
        claimed = FreezeFeed.objects.filter(pk=feed.pk, next_read_at=feed.next_read_at)
        if claimed.update(next_read_at=now + _EVERY):
            done += _read(feed)
    return done


def _read(feed: FreezeFeed) -> bool:
    try:
        url = secret_store.read(WEBHOOKS, feed.path)["url"]
        got = posting.get(url, _SECONDS, freezes.LARGEST_FILE)
        if got.content is None:
            raise BadInput(got.text)
        replace(feed, freezes.read_calendar(got.content))
    except KeyServiceError as error:
        _failed(feed, error.message)
        return False
    FreezeFeed.objects.filter(pk=feed.pk).update(
        read_at=timezone.now(), last_error="", failing_since=None
    )
    close_alert(_actor(feed), HumanTask.Kind.FINDING, _about(feed), "It is read again.")
    return True


def replace(feed: FreezeFeed, events: list[Event]) -> bool:
    """Make the calendar's freezes those of its events, all or none; returns whether any changed."""
    said = {(one.name, one.first_day, one.last_day, one.rule) for one in events}
    columns = ("name", "first_day", "last_day", "rule")
    if said == set(feed.freezes.values_list(*columns)):
        return False
    with transaction.atomic():
        feed.freezes.all().delete()
        for name, first, last, rule in sorted(said):
            freezes.save_event(Event(name, first, last, rule), feed.environment, feed)
        replan(feed.environment)
        count = Freeze.objects.filter(feed=feed).count()
        record(Action.FREEZE_CHANGED, _actor(feed), feed, freezes=count)
    return True


def _failed(feed: FreezeFeed, why: str) -> None:
    """Keep what the calendar said last, try again soon, and tell people when it lasts."""
    now = timezone.now()
    since = feed.failing_since or now
    FreezeFeed.objects.filter(pk=feed.pk).update(
        last_error=why[:300], failing_since=since, next_read_at=now + _AGAIN
    )
    log.warning("calendar not read", extra={"feed": feed.pk, "error": why})
    if now - since >= _TOLD_AFTER:
        text = (
            f"The calendar {feed} cannot be read: {why} The freezes that it said last still hold. "
            "Mend its address, or remove it on the calendar's page."
        )
        open_alert(_actor(feed), HumanTask.Kind.FINDING, _about(feed), text)


def _actor(feed: FreezeFeed) -> Actor:
    return system_actor(f"calendar {feed.name}")


def _about(feed: FreezeFeed) -> str:
    return f"freeze-feed:{feed.pk}"
