"""Find what a person may see: one place for the pages, so that foreign and unknown read alike."""

from django.db.models import Prefetch, QuerySet

from keyvault.access.permissions import ALLOWED, Permission, visible_keys
from keyvault.core.errors import NotFound
from keyvault.models import ApiKey, Member
from rotation.human_tasks import visible_tasks
from rotation.models import OPEN_STEPS, HumanTask, Rotation, Step, WaitingFor

_WHOLE = (
    "key__account",
    "key__environment",
    "key__application",
    "key__member",
    "key__current",
    "old_version",
    "new_version",
    "requested_by",
)


def rotations_of(member: Member) -> QuerySet[Rotation]:
    """Return the rotations of the keys that `member` may see, with what pages show of them."""
    return rotations_among(visible_keys(member, archived=True))


def rotations_among(keys: QuerySet[ApiKey]) -> QuerySet[Rotation]:
    """Return the rotations of these keys, with what pages show of them."""
    return Rotation.objects.filter(key__in=keys.order_by().values("pk")).select_related(*_WHOLE)


def get_rotation(member: Member, rotation_id: int) -> Rotation:
    """Return the rotation; NotFound for an unknown one and for one of a foreign key alike."""
    found = rotations_of(member).select_related("waived_by").filter(pk=rotation_id).first()
    if found is None:
        raise NotFound("There is no such rotation, or it is not yours to see.")
    return found


def open_tasks(member: Member) -> QuerySet[HumanTask]:
    """Return the open tasks of the keys that `member` may see, oldest first."""
    return (
        visible_tasks(member)
        .filter(closed_at=None)
        .select_related("account", "key__account", "key__environment", "key__application")
        .select_related("rotation")
        .order_by("opened_at")
    )


def get_task(member: Member, task_id: int) -> HumanTask:
    """Return the task; NotFound for an unknown one and for one of a foreign key alike."""
    found = (
        visible_tasks(member)
        .filter(pk=task_id)
        .select_related(
            "account",
            "key__account",
            "key__environment",
            "key__application",
            "key__member",
            "version",
            "closed_by",
            "rotation__old_version",
            "rotation__new_version",
        )
        .first()
    )
    if found is None:
        raise NotFound("There is no such task, or it is not yours to see.")
    return found


def with_open_rotation() -> "Prefetch[str, QuerySet[Rotation], str]":
    """Return the prefetch that gives each key its open rotation as the list `open_now`."""
    rotations = Rotation.objects.filter(step__in=OPEN_STEPS)
    return Prefetch(
        "rotations", rotations.select_related("old_version", "new_version"), to_attr="open_now"
    )


def state_of(rotation: Rotation) -> str:
    """Return the state that pages show: an end, or moving, waiting, or waiting for a person."""
    if rotation.step in (Step.DONE, Step.FAILED, Step.CANCELLED):
        return rotation.step
    if rotation.waiting_for in (WaitingFor.KEY, WaitingFor.DELETION, WaitingFor.PERSON):
        return "person"
    return "waiting" if rotation.waiting_for else "moving"


def who_may(verb: Permission, key: ApiKey) -> str:
    """Return in words who can do this: the roles that have the verb, or the key's own person."""
    if key.member:
        return f"{key.member}"
    roles = [role for role, verbs in ALLOWED.items() if verb in verbs]
    names = " or ".join(f"an {role}" if role[0] in "ao" else f"a {role}" for role in roles)
    where = f"{key.application} in {key.environment}"
    return f"{names[0].upper()}{names[1:]} of {where}"
