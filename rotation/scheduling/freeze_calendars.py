"""Calendars whose events are freezes: read each hour; one that is away leaves what it said last.

Its address may be as good as a password, so it lies in Vault, and nothing here shows it.
"""

import logging
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone

from keyvault.access.permissions import require_owner
from keyvault.audit.actors import Actor, member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import outbound_addresses, outbound_http
from keyvault.core.errors import BadInput, Conflict, KeyServiceError
from keyvault.core.validators import require_clean
from keyvault.inventory import stored_secrets
from keyvault.models import Environment, Member
from keyvault.vault import secret_store
from rotation.consumers.webhooks import WEBHOOKS
from rotation.human_tasks import close_alert, open_alert
from rotation.models import ChangeFreeze, FreezeCalendar, HumanTask
from rotation.scheduling import freezes
from rotation.scheduling.ics_days import LONGEST, Event, Reading
from rotation.scheduling.replanner import replan

log = logging.getLogger(__name__)
_EVERY, _AGAIN = timedelta(hours=1), timedelta(minutes=10)
_SECONDS = 15.0
# Away for so long is told: the freezes that it said last still hold.
_TOLD_AFTER = timedelta(hours=6)
_EMPTY_BELIEVED_AFTER = timedelta(hours=24)


def add_feed(
    by: Member, name: str, url: str, environment: Environment | None = None
) -> FreezeCalendar:
    """Have a calendar's events freeze rotations, everywhere or in one environment.

    Raises Denied, BadInput for an address that is unusable, or Conflict on a used name.
    """
    require_owner(by, "say when nothing rotates")
    outbound_addresses.require_safe(url, "A calendar's")
    feed = FreezeCalendar(
        name=name.strip(),
        host=urlsplit(url).hostname or "",
        environment=environment,
        next_read_at=timezone.now(),
        created_by=by,
    )
    require_clean(feed, exclude=["path"])
    feed.path = stored_secrets.store_secret(WEBHOOKS, {"url": url})
    try:
        with stored_secrets.saving(feed.path):
            feed.save(force_insert=True)
            record(Action.FREEZE_CHANGED, member_actor(by), feed, added=True)
    except IntegrityError:
        raise Conflict(f"There is a calendar named “{feed.name}” already.") from None
    return feed


def end_feed(by: Member, feed: FreezeCalendar) -> None:
    """Remove a calendar with its freezes; what they held back is planned anew."""
    require_owner(by, "say when nothing rotates")
    with transaction.atomic():
        record(Action.FREEZE_CHANGED, member_actor(by), feed, added=False)
        environment = feed.environment
        for about in (_about(feed), _about_reading(feed)):
            close_alert(member_actor(by), HumanTask.Kind.FINDING, about, "It was removed.")
        stored_secrets.release_secret(WEBHOOKS, feed.path)
        feed.delete()
        replan(environment, strict=False)


def read_due() -> int:
    """Read the calendars whose hour has come; returns how many could be read. Never raises for one."""
    done = 0
    for feed in FreezeCalendar.objects.filter(next_read_at__lte=timezone.now()).order_by("pk")[:20]:
        now = timezone.now()
        claimed = FreezeCalendar.objects.filter(pk=feed.pk, next_read_at=feed.next_read_at)
        if claimed.update(next_read_at=now + _EVERY):
            done += _read(feed)
    return done


def _read(feed: FreezeCalendar) -> bool:
    try:
        url = secret_store.read(WEBHOOKS, feed.path)["url"]
        got = outbound_http.get(url, _SECONDS, freezes.LARGEST_FILE)
        if got.content is None:
            raise BadInput(got.text)
        # Where older freezes hold, half a calendar is worse than they are.
        reading = freezes.read_calendar(got.content, partial=not feed.freezes.exists())
        _refuse_sudden_emptiness(feed, reading)
        replace(feed, reading)
    except KeyServiceError as error:
        _failed(feed, error.message)
        return False
    remarks = "\n".join(reading.remarks)[:4000]
    FreezeCalendar.objects.filter(pk=feed.pk).update(
        read_at=timezone.now(), last_error="", failing_since=None, remarks=remarks
    )
    close_alert(_actor(feed), HumanTask.Kind.FINDING, _about(feed), "It is read again.")
    # guard: what was not read exactly is told at once
    _tell_remarks(feed, reading.remarks)
    return True


def _refuse_sudden_emptiness(feed: FreezeCalendar, reading: Reading) -> None:
    """A calendar that is empty all at once may be a mistake of its server: believed after a day."""
    if reading.events or reading.remarks or not feed.freezes.exists():
        return
    since = feed.failing_since or timezone.now()
    # guard: a calendar that is empty all at once
    if reading.found == 0 and timezone.now() - since < _EMPTY_BELIEVED_AFTER:
        raise BadInput(
            "It is empty all at once: believed when it stays so for a day. Nothing was changed."
        )


def replace(feed: FreezeCalendar, reading: Reading) -> bool:
    """Make the calendar's freezes those that were read, all or none; returns whether any changed."""
    events = _fitting(reading)
    said = {(one.name, one.first_day, one.last_day, one.rule) for one in events}
    columns = ("name", "first_day", "last_day", "rule")
    if said == set(feed.freezes.values_list(*columns)):
        return False
    with transaction.atomic():
        feed.freezes.all().delete()
        for name, first, last, rule in sorted(said):
            freezes.save_event(Event(name, first, last, rule), feed.environment, feed)
        # A freeze comes first: about a key that cannot be kept with it people are asked.
        replan(feed.environment, strict=False)
        count = ChangeFreeze.objects.filter(feed=feed).count()
        record(Action.FREEZE_CHANGED, _actor(feed), feed, freezes=count)
    return True


def _fitting(reading: Reading) -> list[Event]:
    """Return as much as can be kept, the soonest first, and say what that leaves out for now."""
    today, kept = timezone.now().date(), []
    for one in reading.events:
        if one.last_day - one.first_day <= LONGEST:
            kept.append(one)
        elif one.rule or one.last_day >= today:
            # From the first of a month, so that it does not change from day to day.
            begin = one.first_day if one.rule else max(one.first_day, today.replace(day=1))
            last = min(one.last_day, begin + LONGEST)
            kept.append(Event(one.name, begin, last, one.rule))
            reading.remarks.append(
                f"“{one.name}” is longer than 200 days: frozen from {begin} to {last} for now."
            )
    kept.sort(key=lambda one: (not one.rule and one.last_day < today, not one.rule, one.first_day))
    if len(kept) > freezes.MOST_EVENTS:
        over = len(kept) - freezes.MOST_EVENTS
        ahead = [one for one in kept[freezes.MOST_EVENTS :] if one.last_day >= today]
        if ahead:
            reading.remarks.append(
                f"It freezes {over} ranges of days more than are kept: those from "
                f"{ahead[0].first_day} on count when they are nearer."
            )
    return kept[: freezes.MOST_EVENTS]


def _tell_remarks(feed: FreezeCalendar, remarks: list[str]) -> None:
    """Ask people at once to look at what was not read exactly; over when all is clear."""
    about = _about_reading(feed)
    if not remarks:
        close_alert(_actor(feed), HumanTask.Kind.FINDING, about, "All of it is read exactly.")
        return
    more = f" And {len(remarks) - 3} more, on the calendar's page." if len(remarks) > 3 else ""
    text = f"Not all of the calendar {feed} is read exactly. {' '.join(remarks[:3])}"[:420] + more
    open_alert(_actor(feed), HumanTask.Kind.FINDING, about, text)


def _failed(feed: FreezeCalendar, why: str) -> None:
    """Keep what the calendar said last, try again soon, and tell people when it lasts."""
    now = timezone.now()
    since = feed.failing_since or now
    FreezeCalendar.objects.filter(pk=feed.pk).update(
        last_error=why[:300], failing_since=since, next_read_at=now + _AGAIN
    )
    log.warning("calendar not read", extra={"feed": feed.pk, "error": why})
    # guard: a new calendar that cannot be read is told at once
    if now - since >= _TOLD_AFTER or feed.read_at is None:
        holds = "The freezes that it said last still hold."
        text = (
            f"The calendar {feed} cannot be read: {why} "
            f"{holds if feed.read_at else 'It never was, so nothing of it is frozen.'} "
            "Mend its address, or remove it on the calendar's page."
        )
        open_alert(_actor(feed), HumanTask.Kind.FINDING, _about(feed), text)


def _actor(feed: FreezeCalendar) -> Actor:
    return system_actor(f"calendar {feed.name}")


def _about(feed: FreezeCalendar) -> str:
    return f"freeze-feed:{feed.pk}"


def _about_reading(feed: FreezeCalendar) -> str:
    return f"freeze-feed-read:{feed.pk}"
