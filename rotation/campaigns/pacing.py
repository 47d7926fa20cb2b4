"""Campaigns that are planned: many keys, spread evenly until a day, each within its own window."""

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from keyvault.audit.actors import Actor, system_actor
from keyvault.models import ApiKey
from rotation.human_tasks import close_alert, open_alert
from rotation.models import AT_REST, OPEN_STEPS, HumanTask, Reason, Rotation, RotationPolicy
from rotation.models.campaigns import Campaign
from rotation.scheduling import windows
from rotation.scheduling.freeze_days import Freezes

WAITS = {
    False: "Its turn has not come yet.",
    True: "Its turn has not come yet: they are spread until the day it is to be finished.",
}
# The last begin when a tenth of the time is left, so that they can end within it.
_BEGUN_BY = 0.9
_MANY = 1_000_000


def room(campaign: Campaign, now: datetime) -> int:
    """Return how many keys of a campaign may begin now; those about an incident know no pace."""
    if campaign.finish_by is None:
        return _MANY
    span = (campaign.finish_by - campaign.started_at) * _BEGUN_BY
    share = min((now - campaign.started_at) / max(span, timedelta(seconds=1)), 1.0)
    total = campaign.items.count()
    begun = campaign.items.filter(rotation__isnull=False).count()
    # guard: planned ones are spread
    return min(math.floor(total * share) + 1, total) - begun


class Gate:
    """Which keys of a campaign may begin at this moment; each key is asked about once."""

    def __init__(self, campaign: Campaign) -> None:
        self.planned = campaign.reason == Reason.MANUAL
        self.now = timezone.now()
        self.freezes = Freezes() if self.planned else None
        self.moving = self._moving() if self.planned else set()

    def _moving(self) -> set[int | None]:
        """Return the applications of which a key moves at the moment; see policies.py."""
        found = Rotation.objects.filter(step__in=OPEN_STEPS).exclude(waiting_for__in=AT_REST)
        return set(found.values_list("key__application", flat=True))

    def look_at(self, room: int) -> int:
        """Return how many waiting keys to look at to find `room` that may begin."""
        return 5000 if self.planned else room * 5

    def opens(self, key: ApiKey) -> bool:
        """Return whether the key may begin: its window is open, no freeze, no sibling moves."""
        if self.freezes is None:
            return True
        if key.application_id and key.application_id in self.moving:
            return False
        policy: RotationPolicy | None = getattr(key, "policy", None)
        zone = ZoneInfo(policy.time_zone if policy else settings.TIME_ZONE)
        window = windows.parse(policy.window) if policy else None
        frozen = self.freezes.of(key.environment_id)
        # guard: planned ones begin in their window
        opens = windows.next_open(self.now, window, frozen, zone) == self.now
        if opens:
            self.moving.add(key.application_id)
        return opens


def tell_if_late(campaign: Campaign) -> None:
    """Ask people about a planned campaign that was to be finished and has keys that wait."""
    if campaign.finish_by is None or campaign.finish_by > timezone.now():
        return
    waiting = campaign.items.filter(rotation=None, accepted_at=None).count()
    if not waiting:
        forget_lateness(campaign, "All its keys have begun.")
        return
    text = (
        f"“{campaign}” was to be finished by {campaign.finish_by:%Y-%m-%d %H:%M} UTC, and {waiting} "
        "of its keys have not begun: their windows or a freeze keep them. Rotate them by hand, or "
        "give them more time."
    )
    open_alert(_actor(campaign), HumanTask.Kind.FINDING, _about(campaign), text)


def forget_lateness(campaign: Campaign, why: str) -> None:
    """Close what people were asked about a late campaign."""
    close_alert(_actor(campaign), HumanTask.Kind.FINDING, _about(campaign), why)


def _actor(campaign: Campaign) -> Actor:
    return system_actor(f"campaign {campaign.pk}")


def _about(campaign: Campaign) -> str:
    return f"campaign-late:{campaign.pk}"
