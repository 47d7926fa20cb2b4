"""The door to rotating many keys at once, in a campaign with a plan: looked at before it begins."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from keyvault.access.permissions import Permission, visible_keys
from keyvault.audit.actors import member_actor
from keyvault.core.errors import BadInput, Denied
from keyvault.models import ApiKey, Member
from keyvault.vendors import PROVIDERS
from rotation.campaigns import service
from rotation.models import OPEN_STEPS, Reason, Rotation
from rotation.models.campaigns import Campaign

MOST = 10_000
_LONGEST = timedelta(days=180)


@dataclass(frozen=True)
class Preview:
    """What would happen to the chosen keys; `mine` of them may be rotated by who asks."""

    total: int
    mine: int
    by_person: int
    in_place: int
    running: int
    without: int
    accounts: list[tuple[str, int]]
    names: list[str]


def preview(by: Member, keys: QuerySet[ApiKey]) -> Preview:
    """Say what rotating these keys means, in four statements however many they are."""
    mine = _mine(by, keys)
    rows = list(
        mine.order_by("pk").values_list("pk", "account__name", "account__provider", "current")[
            : MOST + 1
        ]
    )
    if len(rows) > MOST:
        raise BadInput(f"These are more than {MOST} keys: choose fewer. Nothing was started.")
    by_hand = {
        code for code, one in PROVIDERS.items() if not (one.can_create or one.replaces_in_place)
    }
    in_place = {code for code, one in PROVIDERS.items() if one.replaces_in_place}
    shown = mine.select_related("account", "environment").order_by("pk")[:10]
    return Preview(
        total=keys.order_by().count(),
        mine=len(rows),
        by_person=sum(row[2] in by_hand for row in rows),
        in_place=sum(row[2] in in_place for row in rows),
        running=mine.filter(_running()).count(),
        without=sum(row[3] is None for row in rows),
        accounts=Counter(row[1] for row in rows).most_common(10),
        names=[str(one) for one in shown],
    )


def _mine(by: Member, keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    return keys.filter(pk__in=visible_keys(by, Permission.ROTATE).values("pk"))


def _running() -> Exists:
    return Exists(Rotation.objects.filter(key=OuterRef("pk"), step__in=OPEN_STEPS))


def start(
    by: Member, title: str, keys: QuerySet[ApiKey], finish_by: datetime | None = None
) -> Campaign:
    """Rotate all of these keys that have a secret, spread until `finish_by` (UTC), in their windows.

    Raises BadInput, or Denied when a key is among them that `by` may not rotate.
    """
    chosen = service.secrets_of(keys.filter(current__isnull=False).order_by("pk"))
    if len(chosen) > MOST:
        raise BadInput(f"These are more than {MOST} keys: choose fewer. Nothing was started.")
    allowed = _mine(by, keys.filter(current__isnull=False)).count()
    # guard: only one's own keys in bulk
    if allowed < len(chosen):
        raise Denied(
            f"You may not rotate {len(chosen) - allowed} of these keys. Nothing was started."
        )
    now = timezone.now()
    if finish_by is not None and not now < finish_by <= now + _LONGEST:
        raise BadInput("Choose a day within the next 180. Nothing was started.")
    return service.begin(member_actor(by), by, title, Reason.MANUAL, chosen, finish_by)
