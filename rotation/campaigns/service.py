"""The door to campaigns: after an incident every key that matches is dealt with, whatever its state.

A key counts as done when its exposed secret is proven dead at the vendor, or when a named person
accepts it with a reason. "Unused" is none. Rotations start at the pace that the storm caps allow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from keyvault.access import exposure
from keyvault.access.permissions import Permission, may, require_owner
from keyvault.audit.actors import Actor, member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.core.validators import require_clean
from keyvault.models import ApiKey, Application, Environment, Member, VendorAccount, VersionState
from keyvault.vendors import PROVIDERS
from rotation.campaigns import pacing
from rotation.engine.lifecycle import create
from rotation.models import OPEN_STEPS, Reason, Rotation, Step, WaitingFor
from rotation.models.campaigns import Campaign, CampaignItem
from rotation.queue import nudge

REASONS = (Reason.INCIDENT, Reason.LEAK, Reason.LEAVER)
_REASON_LEAST = 5
# What a rotation will replace, now or once another one has brought it in.
_IN_FORCE = (VersionState.CURRENT, VersionState.PENDING)
# What has left the vendor for good, with the proof in the row.
_DEAD = Q(exposed__refused_at__isnull=False, exposed__state=VersionState.DELETED) | Q(
    exposed__refused_at__isnull=False, exposed__state=VersionState.DISCARDED
)
SETTLED_STATES = ("rotated", "dead", "accepted")
# A key, and the secret of it that must go; none where the key has none on record.
Exposed = tuple[int, int | None]
SETTLED = _DEAD | Q(accepted_at__isnull=False)


@dataclass(frozen=True)
class Standing:
    """How one key of a campaign stands: `rotated`, `dead`, `accepted`, or what is still open."""

    item: CampaignItem
    state: str
    text: str


def keys_that_match(
    *, account: int | None = None, application: int | None = None, environment: int | None = None
) -> QuerySet[ApiKey]:
    """Return every key of these places, in whatever state; all keys when nothing narrows it."""
    wanted = {"account": account, "application": application, "environment": environment}
    return ApiKey.objects.filter(**{name: at for name, at in wanted.items() if at is not None})


@dataclass(frozen=True)
class Choice:
    """Which keys a campaign is about: those of places, what a person knows, or what tokens read."""

    account: VendorAccount | None = None
    application: Application | None = None
    environment: Environment | None = None
    person: Member | None = None
    readable_by: Application | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Preview:
    """What a campaign would reach, before it is started."""

    total: int
    by_person: int
    without: int
    names: list[str]
    more: int


def exposed_by(choice: Choice) -> list[Exposed]:
    """Return the secrets that were chosen; raises BadInput unless it was said in one way."""
    places = (choice.account, choice.application, choice.environment)
    ways = [choice.person is not None, choice.readable_by is not None, any(places)]
    if sum(ways) > 1 or (choice.since and choice.readable_by is None):
        raise BadInput(
            "Say which keys in one way: what a person knows, or what an application's tokens could "
            "read (`readable_by`) with or without `since`, or the places. Nothing was started."
        )
    if choice.person is not None:
        return [(one.key.pk, one.version.pk) for one in exposure.to_person(choice.person)]
    if choice.readable_by is not None:
        found = exposure.to_application(choice.readable_by, choice.since)
        return [(one.key.pk, one.version.pk) for one in found]
    account, application, environment = (place.pk if place else None for place in places)
    return secrets_of(
        keys_that_match(account=account, application=application, environment=environment)
    )


def preview(exposed: Sequence[Exposed]) -> Preview:
    """Say how many secrets these are, and how many of them need a person."""
    keys = ApiKey.objects.filter(pk__any=[key for key, _ in exposed])
    by_hand = [
        code for code, one in PROVIDERS.items() if not (one.can_create or one.replaces_in_place)
    ]
    names = [str(key) for key in keys.select_related("account", "environment").order_by("pk")[:10]]
    return Preview(
        total=len(exposed),
        by_person=keys.filter(account__provider__in=by_hand).count(),
        without=sum(version is None for _, version in exposed),
        names=names,
        more=max(0, len(exposed) - len(names)),
    )


def secrets_of(keys: QuerySet[ApiKey]) -> list[Exposed]:
    """Return these keys with the secrets that they have now."""
    return list(keys.values_list("pk", "current_id"))


def start(by: Member, title: str, reason: Reason, exposed: Sequence[Exposed]) -> Campaign:
    """Begin a campaign over all these secrets; raises Denied, or BadInput when there is none."""
    require_owner(by, "start a campaign")
    if reason not in REASONS:
        raise BadInput("Choose one of the reasons {reasons}.".format(reasons=", ".join(REASONS)))
    return begin(member_actor(by), by, title, reason, exposed)


def begin(
    actor: Actor,
    by: Member | None,
    title: str,
    reason: Reason,
    exposed: Sequence[Exposed],
    finish_by: datetime | None = None,
) -> Campaign:
    """Begin a campaign for a caller that has asked whether it may; raises BadInput as `start` does."""
    if not title.strip():
        raise BadInput("Give the campaign a title: what happened?")
    if not exposed:
        raise BadInput("No key matches. Nothing was started.")
    with transaction.atomic():
        campaign = Campaign(title=title.strip(), reason=reason, started_by=by, finish_by=finish_by)
        require_clean(campaign, exclude=["started_by"])
        campaign.save()
        CampaignItem.objects.bulk_create(
            CampaignItem(campaign=campaign, key_id=key, exposed_id=version)
            for key, version in exposed
        )
        record(Action.CAMPAIGN_STARTED, actor, campaign, reason=reason, keys=len(exposed))
    return campaign


def work() -> int:
    """Start what may start now, soonest end first, and close what is done; returns the starts."""
    started = 0
    for campaign in Campaign.objects.filter(closed_at__isnull=True).order_by("started_at"):
        started += _start_some(campaign, settings.MAX_STARTS_PER_TICK - started)
        _close_if_done(campaign)
        pacing.tell_if_late(campaign)
    return started


def _start_some(campaign: Campaign, room: int) -> int:
    room = min(room, pacing.room(campaign, timezone.now()))
    if room <= 0:
        return 0
    waiting = campaign.items.exclude(SETTLED).filter(rotation=None)
    _join_running(waiting)
    # A secret that a rotation is just bringing in is rotated once it is the current one.
    left = waiting.filter(exposed=F("key__current"))
    busy, gate = _busy_accounts(), pacing.Gate(campaign)
    started = 0
    for item in left.select_related("key__account", "key__policy", "exposed").order_by(
        F("exposed__expires_at").asc(nulls_last=True), "pk"
    )[: gate.look_at(room)]:
        if not gate.opens(item.key):
            continue
        account = item.key.account_id
        if started >= room or busy.get(account, 0) >= settings.MAX_ROTATIONS_PER_ACCOUNT:
            continue
        busy[account] = busy.get(account, 0) + 1
        started += _start_one(campaign, item)
    return started


def _join_running(waiting: QuerySet[CampaignItem]) -> None:
    """Where a rotation is replacing the exposed secret already, that one is the item's."""
    running = Rotation.objects.filter(step__in=OPEN_STEPS, old_version=OuterRef("exposed"))
    waiting.filter(Exists(running)).update(rotation=Subquery(running.values("pk")[:1]))


def _busy_accounts() -> dict[int, int]:
    # What waits for a hold to end, perhaps for years, takes up nobody's turn.
    open_now = Rotation.objects.filter(step__in=OPEN_STEPS).exclude(waiting_for=WaitingFor.HOLD)
    counted = open_now.values("key__account").annotate(open=Count("pk"))
    return dict(counted.values_list("key__account", "open"))


def _start_one(campaign: Campaign, item: CampaignItem) -> int:
    """Start the item's rotation; one that somebody else has just opened is joined the next time.

    Whoever started the campaign may have left since: it goes on for the installation then.
    """
    reason, asker = Reason(campaign.reason), campaign.started_by
    if asker and not may(asker, Permission.ROTATE, item.key):
        asker = None
    try:
        with transaction.atomic():
            rotation = create(item.key, reason, asker)
            actor = system_actor(f"campaign {campaign.pk}", str(campaign.started_by))
            record(Action.ROTATION_STARTED, actor, rotation, reason=reason)
    except IntegrityError:
        return 0
    CampaignItem.objects.filter(pk=item.pk).update(rotation=rotation)
    nudge(rotation.pk)
    return 1


def _close_if_done(campaign: Campaign) -> None:
    if campaign.items.exclude(SETTLED).exists():
        return
    with transaction.atomic():
        open_now = Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=True)
        if open_now.update(closed_at=timezone.now()):
            actor = system_actor(f"campaign {campaign.pk}", str(campaign.started_by))
            record(Action.CAMPAIGN_CLOSED, actor, campaign, keys=campaign.items.count())


def accept(by: Member, item: CampaignItem, reason: str) -> None:
    """Take responsibility for leaving this key as it is; Conflict when it is settled already."""
    require_owner(by, "accept a key as it is")
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput("Say why this key need not be rotated; it goes on record with your name.")
    with transaction.atomic():
        open_item = CampaignItem.objects.exclude(SETTLED).filter(pk=item.pk)
        if not CampaignItem.objects.filter(pk__in=open_item.values("pk")).update(
            accepted_by=by, accepted_at=timezone.now(), accepted_reason=reason.strip()[:500]
        ):
            raise Conflict("This key is settled already.")
        record(Action.CAMPAIGN_ACCEPTED, member_actor(by), item.key, reason=reason)


def end(by: Member, campaign: Campaign) -> None:
    """Stop a planned campaign; rotations under way continue. Conflict when closed.

    One about an incident ends only when each of its secrets is dead or accepted.
    """
    if campaign.reason != Reason.MANUAL:
        raise Denied("A campaign about an incident ends when each of its keys is dealt with.")
    if campaign.started_by_id != by.pk:
        require_owner(by, "end somebody else's campaign")
    with transaction.atomic():
        open_now = Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=True)
        if not open_now.update(closed_at=timezone.now()):
            raise Conflict("It is closed already.")
        pacing.forget_lateness(campaign, "It was ended.")
        record(Action.CAMPAIGN_CLOSED, member_actor(by), campaign, ended="by hand")


def retry(by: Member, item: CampaignItem) -> None:
    """Have a failed or cancelled rotation of this key started anew; Conflict while one is open."""
    if not may(by, Permission.ROTATE, item.key):
        raise Denied("Your role does not let you rotate this key.")
    ended = Q(rotation__step__in=[Step.FAILED, Step.CANCELLED])
    found = CampaignItem.objects.exclude(SETTLED).filter(ended, pk=item.pk)
    if not CampaignItem.objects.filter(pk__in=found.values("pk")).update(rotation=None):
        raise Conflict("Nothing has failed here: its rotation is under way, or it is settled.")


def report(campaign: Campaign) -> list[Standing]:
    """Say how each key stands; every key of the campaign is in it, the open ones first."""
    standings = [standing(item) for item in _with_facts(campaign.items.all())]
    return sorted(standings, key=lambda one: one.state in SETTLED_STATES)


def items_of(campaign: Campaign, *, settled: bool) -> QuerySet[CampaignItem]:
    """Return the keys that are settled, or those that are not, with what `standing` reads."""
    items = campaign.items.filter(SETTLED) if settled else campaign.items.exclude(SETTLED)
    return _with_facts(items)


def _with_facts(items: QuerySet[CampaignItem]) -> QuerySet[CampaignItem]:
    return items.select_related(
        "campaign", "key__account", "key__environment", "exposed", "rotation", "accepted_by"
    )


def with_counts(found: QuerySet[Campaign]) -> QuerySet[Campaign]:
    """Return the campaigns with how many keys they have (`total`) and are `settled`."""
    items = CampaignItem.objects.filter(campaign=OuterRef("pk")).order_by().values("campaign")
    total, settled = (
        Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)
        for rows in (items, items.filter(SETTLED))
    )
    return found.annotate(total=total, settled=settled)


def counts(campaign: Campaign) -> dict[str, int]:
    """Return how many keys stand how, by the words of `standing`, in one statement."""
    ended = Q(rotation__step__in=[Step.FAILED, Step.CANCELLED])
    stands = Case(
        When(accepted_at__isnull=False, then=Value("accepted")),
        When(exposed=None, then=Value("open")),
        When(_DEAD & Q(rotation__step=Step.DONE), then=Value("rotated")),
        When(_DEAD, then=Value("dead")),
        When(rotation=None, exposed__state__in=_IN_FORCE, then=Value("waiting")),
        When(rotation=None, then=Value("open")),
        When(ended, then=Value("failed")),
        default=Value("under way"),
    )
    found = campaign.items.order_by().annotate(stands=stands).values_list("stands")
    return dict(found.annotate(n=Count("pk")))


def standing(item: CampaignItem) -> Standing:
    """Say how one key stands."""
    if item.accepted_at:
        return Standing(item, "accepted", f"{item.accepted_by}: {item.accepted_reason}")
    exposed, rotation = item.exposed, item.rotation
    if exposed is None:
        return Standing(item, "open", "The key has no secret on record: accept it, or record one.")
    if exposed.refused_at and exposed.state in (VersionState.DELETED, VersionState.DISCARDED):
        word = "rotated" if rotation and rotation.step == Step.DONE else "dead"
        return Standing(
            item, word, f"Refused by the vendor since {exposed.refused_at:%Y-%m-%d %H:%M}."
        )
    if rotation is None and exposed.state in _IN_FORCE:
        return Standing(item, "waiting", pacing.WAITS[bool(item.campaign.finish_by)])
    if rotation is None:
        text = "No rotation replaces this secret any more. Delete it at the vendor, then accept it."
        return Standing(item, "open", text)
    if rotation.step in (Step.FAILED, Step.CANCELLED):
        return Standing(item, "failed", rotation.outcome or rotation.last_error or "Cancelled.")
    return Standing(
        item, "under way", rotation.waiting_text or f"At the step {rotation.get_step_display()}."
    )


def progress(standings: Iterable[Standing]) -> dict[str, int]:
    """Return how many keys stand how."""
    counts: dict[str, int] = {}
    for one in standings:
        counts[one.state] = counts.get(one.state, 0) + 1
    return counts
