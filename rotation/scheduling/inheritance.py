"""What a key's policy is: installation, then account, environment, application, then the key itself.

Each level says some settings, and the nearer one wins. What follows for each key is stored with it,
so that what is due is found by one index; a change of a level is carried to its keys at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Denied, NotFound
from keyvault.inventory import catalog
from keyvault.inventory.edit_conflicts import require_unchanged
from keyvault.models import ApiKey, Application, Environment, Member, VendorAccount
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, PolicyScope, RotationPolicy
from rotation.models.scheduling import SETTINGS
from rotation.scheduling import planner
from rotation.scheduling.freeze_days import Freezes, Span
from rotation.scheduling.validation import Wish, require_possible

_BATCH = 500
_LOCK = 7_301_226_500  # of this project alone in its database
# How many keys are settled while a person waits, and by the worker in one go: policies are held for so
# long, and whoever saves one meanwhile waits.
AT_ONCE, A_BATCH = 2000, 500
_COLUMNS = [*SETTINGS, "next_run_at"]
BUILT_IN = "built in"
Place = VendorAccount | Environment | Application | None


@dataclass(frozen=True)
class Value:
    """What counts, and which level says so."""

    value: Any
    source: str


def built_in() -> dict[str, Any]:
    """Return what counts where no level says anything."""
    return {
        "enabled": True,
        "every_days": None,
        "rule": "",
        "at_time": time(3),
        "time_zone": settings.TIME_ZONE,
        "window": "",
        "missed": "next",
        "jitter_minutes": 0,
        "max_age_days": None,
        "overlap_seconds": settings.DEFAULT_OVERLAP_SECONDS,
        "quiet_seconds": settings.DEFAULT_QUIET_SECONDS,
        "standbys": 0,
    }


def resolve(said: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Value]:
    """Return each setting with its source, from what the levels say, the farthest first."""
    found = {name: Value(value, BUILT_IN) for name, value in built_in().items()}
    for source, values in said:
        if values.get("every_days") is not None and not values.get("rule"):
            found["rule"] = Value("", source)  # a number of days replaces a rule from farther away
        for name in SETTINGS:
            if values.get(name) is not None:
                found[name] = Value(values[name], source)
    return found


class Levels:
    """What every level says, read once."""

    def __init__(self) -> None:
        rows = PolicyScope.objects.select_related("account", "environment", "application")
        self._by_place = {
            (one.account_id, one.environment_id, one.application_id): one for one in rows
        }

    def above(self, key: ApiKey) -> list[tuple[str, dict[str, Any]]]:
        """Return what the levels above a key say, the farthest first."""
        return [(one.place, values_of(one)) for one in self._rows(key)]

    def numbers_above(self, key: ApiKey) -> list[int]:
        """Return the ids of the levels above a key."""
        return [one.pk for one in self._rows(key)]

    def _rows(self, key: ApiKey) -> list[PolicyScope]:
        places: list[tuple[int | None, int | None, int | None]] = [
            (None, None, None),
            (key.account_id, None, None),
            (None, key.environment_id, None),
        ]
        if key.application_id:
            places.append((None, None, key.application_id))
        return [self._by_place[place] for place in places if place in self._by_place]


def values_of(level: PolicyScope) -> dict[str, Any]:
    """Return what a level says, without what it leaves open."""
    every = {name: getattr(level, name) for name in SETTINGS}
    return {name: value for name, value in every.items() if value is not None}


def overrides_of(policy: RotationPolicy | None) -> dict[str, Any]:
    """Return what is said for the very key."""
    return {name: getattr(policy, name) for name in policy.own} if policy else {}


def explain(key: ApiKey, policy: RotationPolicy | None) -> dict[str, Value]:
    """Return what counts for a key and where each part of it comes from."""
    return resolve([*Levels().above(key), ("this key", overrides_of(policy))])


def has_rhythm(found: Mapping[str, Value]) -> bool:
    """Return whether anything says how often."""
    return any(found[name].value for name in ("every_days", "rule", "max_age_days"))


def apply_values(policy: RotationPolicy, found: Mapping[str, Value], own: Iterable[str]) -> None:
    """Give a policy these values; nothing is saved."""
    policy.own = sorted(own)
    for name in SETTINGS:
        setattr(policy, name, found[name].value)


def set_scope(
    by: Member, place: Place, wish: Wish, *, seen: str | None = None, at_once: int = AT_ONCE
) -> PolicyScope:
    """Say what counts for every key below a place (None: the installation); None says nothing.

    `at_once` keys are settled now, the worker carries on with the rest; `seen` marks the level that
    the person was looking at.

    Raises Denied, Conflict, or BadInput with what does not fit, for it or for a key below it.
    """
    if not may(by, Permission.MANAGE, place):
        raise Denied("Only an owner of it may set a policy for all keys below it.")
    said = wish.cleaned()
    with transaction.atomic():
        lock_policies()
        require_unchanged(seen, scope_of(place))
        level, _made = PolicyScope.objects.update_or_create(
            **scope_columns(place),
            defaults={**said, "set_by": by, "applied_to": 0, "applied_at": None},
        )
        level.refresh_from_db()
        apply_scope(level, at_once)
        told = {name: str(value) for name, value in said.items() if value is not None}
        record(Action.POLICY_CHANGED, member_actor(by), level, **told)
    return level


def place_of(by: Member, kind: str, number: int) -> Place:
    """Return the place that `kind` and a number name, if `by` may know of it; else NotFound."""
    if kind == "installation" and number == 0:
        return None
    if kind == "account":
        return catalog.get_account(by, number)
    if kind == "environment":
        return catalog.get_environment(by, number)
    if kind == "application":
        return catalog.get_application(by, number)
    raise NotFound("There is no such level of policies.")


def scope_of(place: Place) -> PolicyScope | None:
    """Return what a place says, if it says anything."""
    rows = PolicyScope.objects.select_related("account", "environment", "application", "set_by")
    return rows.filter(**scope_columns(place)).first()


def scope_columns(place: Place) -> dict[str, Any]:
    """Return the columns that name a place."""
    names = {"account": VendorAccount, "environment": Environment, "application": Application}
    return {name: place if isinstance(place, kind) else None for name, kind in names.items()}


def keys_below(level: PolicyScope) -> QuerySet[ApiKey]:
    """Return the keys for which a level counts."""
    names = ("account", "environment", "application")
    place = {name: getattr(level, name) for name in names if getattr(level, name)}
    return ApiKey.objects.filter(**place)


def apply_scope(level: PolicyScope, at_once: int, *, strict: bool = True) -> None:
    """Carry a level's change to the next keys below it; marks it when all were reached."""
    keys = keys_below(level).filter(pk__gt=level.applied_to).order_by("pk")
    numbers = list(keys.values_list("pk", flat=True)[:at_once])
    recompute_policies(ApiKey.objects.filter(pk__any=numbers), strict=strict)
    level.applied_to = numbers[-1] if numbers else level.applied_to
    level.applied_at = timezone.now() if len(numbers) < at_once else None
    level.save(update_fields=["applied_to", "applied_at"])


def apply_next_scope(at_once: int = A_BATCH) -> bool:
    """Carry on with a level whose change has not reached every key; returns whether there was one."""
    waiting = PolicyScope.objects.filter(applied_at__isnull=True).order_by("pk")
    if not waiting.exists():
        return False
    with transaction.atomic():
        # Policies are held before the row is locked, in the order of whoever changes a level.
        # guard: level carried in the request's order
        lock_policies()
        level = waiting.select_for_update(of=("self",)).first()
        if level:
            apply_scope(level, at_once, strict=False)
        return level is not None


def recompute_new_keys() -> None:
    """Give keys that were recorded lately the policy that the levels above them say."""
    if not PolicyScope.objects.exists():
        return
    newest = ApiKey.objects.order_by("-pk").values_list("pk", flat=True)[:AT_ONCE]
    fresh = ApiKey.objects.filter(pk__any=list(newest), policy__isnull=True, current__isnull=False)
    recompute_policies(fresh, strict=False)


def lock_policies() -> None:
    """Let one transaction at a time write policies, until it ends.

    A key's own setting would be lost to a level's change that read it a moment before.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


@transaction.atomic
def recompute_policies(keys: QuerySet[ApiKey], *, strict: bool = True) -> int:
    """Store for each key what follows from the levels and itself, and when it is due.

    Raises BadInput for a policy that cannot be kept; if not strict, such a key keeps what it has and
    people are asked.
    """
    # guard: levels are carried in turn
    lock_policies()
    levels, freezes, changed = Levels(), Freezes(), []
    last = seen = 0
    while batch := list(
        keys.filter(pk__gt=last)
        .select_related("current", "policy", "account", "environment", "application")
        .order_by("pk")[:_BATCH]
    ):
        changed += _settle(batch, levels, freezes, strict=strict)
        last, seen = batch[-1].pk, seen + len(batch)
    # Questions are on record: the head of the log is locked last, after every policy.
    for number in range(0, len(changed), _BATCH):
        _ask(changed[number : number + _BATCH])
    return seen


def _settle(
    batch: list[ApiKey], levels: Levels, freezes: Freezes, *, strict: bool
) -> list[RotationPolicy]:
    """Store what changed of a batch; return its policies, the impossible ones with the reason."""
    changed: list[RotationPolicy] = []
    seen: list[RotationPolicy] = []
    for key in batch:
        if key.archived_at:
            continue
        policy = getattr(key, "policy", None)
        own = overrides_of(policy)
        found = resolve([*levels.above(key), ("this key", own)])
        if not has_rhythm(found) and not own:
            if policy:
                policy.delete()
            continue
        made = policy or RotationPolicy()
        was = [getattr(made, name) for name in _COLUMNS]
        made.key = key
        apply_values(made, found, own)
        frozen = freezes.of(key.environment_id)
        seen.append(made)
        made.impossible = _impossible(made, frozen, strict)
        if made.impossible:
            continue
        made.next_run_at = planner.due_at(made, frozen)
        if policy is None or was != [getattr(made, name) for name in _COLUMNS]:
            changed.append(made)
    # One statement for new and known ones; CASE by CASE it would take ten times as long.
    RotationPolicy.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["key"], update_fields=_COLUMNS
    )
    return seen


def _impossible(policy: RotationPolicy, frozen: list[Span], strict: bool) -> str:
    try:
        require_possible(policy, frozen)
    except BadInput as error:
        # guard: a level that a key cannot keep
        if strict:
            raise
        return error.message
    return ""


def _ask(policies: list[RotationPolicy]) -> None:
    """Ask people about keys that end first or cannot keep their levels; close what is answered."""
    abouts = [f"{what}:{one.key_id}" for one in policies for what in ("ends-first", "impossible")]
    asked = set(
        HumanTask.objects.filter(
            closed_at__isnull=True, kind=HumanTask.Kind.FINDING, about__any=abouts
        ).values_list("about", flat=True)
    )
    for one in policies:
        current, about = one.key.current, f"impossible:{one.key_id}"
        if one.impossible:
            _tell_impossible(one, about)
            continue
        if about in asked:
            actor = system_actor("schedule")
            close_alert(actor, HumanTask.Kind.FINDING, about, "It can be kept now.")
        if f"ends-first:{one.key_id}" in asked or (current and current.expires_at):
            planner.ask_if_too_late(one)


def _tell_impossible(policy: RotationPolicy, about: str) -> None:
    key = policy.key
    text = f"What the levels above {key} say cannot be kept for it: {policy.impossible}"
    actor = system_actor("schedule")
    open_alert(actor, HumanTask.Kind.FINDING, about, text, account=key.account, key=key)


def clear_overrides(by: Member, key: ApiKey) -> None:
    """Let a key follow the levels above it in everything."""
    if not may(by, Permission.ROTATE, key):
        raise Denied("Your role does not let you set this key's rotation policy.")
    with transaction.atomic():
        lock_policies()
        RotationPolicy.objects.filter(key=key).update(own=[])
        recompute_policies(ApiKey.objects.filter(pk=key.pk))
        record(Action.POLICY_CHANGED, member_actor(by), key, policy="as the levels above it say")
