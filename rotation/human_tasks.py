"""Tasks for people: opened once, closed by a proof or when they are no longer needed.

Those of a rotation are about its key; an alert is about an account, the secret store, or a finding.
"""

from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.utils import timezone

from keyvault.access.permissions import Permission, grants_with, may, visible_keys
from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.core.redaction import one_line
from keyvault.models import ApiKey, KeyVersion, Member, VendorAccount
from rotation.models import TASK_TEXT, HumanTask, Rotation

_WORD_LEAST = 5


def open_task(
    actor: Actor,
    rotation: Rotation,
    kind: HumanTask.Kind,
    text: str = "",
    version: KeyVersion | None = None,
) -> HumanTask:
    """Open a task of this kind for the rotation, or renew the text of the one that is open."""
    with transaction.atomic():
        task, created = HumanTask.objects.get_or_create(
            rotation=rotation,
            kind=kind,
            closed_at__isnull=True,
            defaults={"key": rotation.key, "text": text, "version": version},
        )
        if created:
            record(Action.TASK_OPENED, actor, task, kind=kind, reason=text)
        elif task.text != text:
            HumanTask.objects.filter(pk=task.pk).update(text=text)
    return task


def close_tasks(
    actor: Actor,
    rotation: Rotation,
    outcome: str,
    *,
    kinds: tuple[HumanTask.Kind, ...] = (),
    by: Member | None = None,
) -> int:
    """Close the rotation's open tasks (of these kinds, or all); returns how many were closed."""
    tasks = HumanTask.objects.filter(rotation=rotation, closed_at__isnull=True)
    return _close(actor, tasks.filter(kind__in=kinds) if kinds else tasks, outcome, by)


def close_tasks_of_key(actor: Actor, rotation: Rotation) -> None:
    """Close what the success of this rotation settles: its own tasks and those of earlier ones."""
    tasks = HumanTask.objects.filter(
        key=rotation.key_id, rotation__isnull=False, closed_at__isnull=True
    )
    _close(actor, tasks.filter(rotation=rotation), "The rotation went on.", None)
    _close(actor, tasks, "A later rotation succeeded.", None)


def close_tasks_about(actor: Actor, key: ApiKey, outcome: str) -> int:
    """Close every open task about a key, alerts as well; returns how many were closed."""
    return _close(actor, HumanTask.objects.filter(key=key, closed_at__isnull=True), outcome, None)


def _close(actor: Actor, tasks: QuerySet[HumanTask], outcome: str, by: Member | None) -> int:
    closed = 0
    # No savepoint: whoever has a transaction open stands or falls with this.
    with transaction.atomic(savepoint=False):
        for task in tasks.select_for_update():
            task.closed_at, task.closed_by, task.outcome = timezone.now(), by, outcome[:300]
            task.save(update_fields=["closed_at", "closed_by", "outcome"])
            record(Action.TASK_CLOSED, actor, task, kind=task.kind, reason=outcome)
            closed += 1
    return closed


def open_alert(
    actor: Actor,
    kind: HumanTask.Kind,
    about: str,
    text: str,
    *,
    account: VendorAccount | None = None,
    key: ApiKey | None = None,
    version: KeyVersion | None = None,
) -> HumanTask:
    """Open a task that belongs to no rotation, or renew the text of the one that is open.

    `about` names what it is about for good; at most one of a kind is open about the same thing.
    """
    parts = {"account": account, "key": key, "version": version, "text": text[:500]}
    with transaction.atomic():
        task, created = HumanTask.objects.get_or_create(
            kind=kind, about=about, closed_at__isnull=True, defaults=parts
        )
        if created:
            record(Action.TASK_OPENED, actor, task, kind=kind, reason=text)
        elif task.text != text[:500]:
            HumanTask.objects.filter(pk=task.pk).update(text=text[:500])
    return task


def is_open(kind: HumanTask.Kind, about: str) -> bool:
    """Return whether an alert of this kind is open about this; asked where one seldom is."""
    return HumanTask.objects.filter(kind=kind, about=about, closed_at__isnull=True).exists()


def close_alert(
    actor: Actor, kind: HumanTask.Kind, about: str, outcome: str, *, by: Member | None = None
) -> int:
    """Close the open alert of this kind about this; returns how many were closed (0 or 1)."""
    tasks = HumanTask.objects.filter(kind=kind, about=about, closed_at__isnull=True)
    return _close(actor, tasks, outcome, by)


def open_review(by: Member, key: ApiKey | None, text: str, about: str) -> None:
    """Have another person look at what `by` did alone; everybody who may see the key is told."""
    clean = one_line(text, TASK_TEXT)  # it quotes a reason that a person typed
    with transaction.atomic():
        task = open_alert(member_actor(by), HumanTask.Kind.REVIEW, about[:200], clean, key=key)
        HumanTask.objects.filter(pk=task.pk, person=None).update(person=by)


def close_review(by: Member, task: HumanTask, word: str) -> None:
    """Close a review with a word on what was found; Denied for whoever it is about."""
    if task.kind != HumanTask.Kind.REVIEW:
        raise Conflict("This task closes by itself when what it tells of is over.")
    if task.person_id == by.pk:
        raise Denied("Nobody reviews what they did themselves. Ask somebody else.")
    if not may(by, Permission.ROTATE, task.key) and not may(by, Permission.MANAGE, task.key):
        raise Denied("Your role does not let you close this.")
    if len(word.strip()) < _WORD_LEAST:
        raise BadInput("Say in a few words what you found; it goes on record with your name.")
    if not close_alert(member_actor(by), HumanTask.Kind.REVIEW, task.about, word.strip(), by=by):
        raise Conflict("This review is closed already.")


def rotation_of(task: HumanTask) -> Rotation:
    """Return the rotation that the task belongs to; Conflict for an alert, which belongs to none."""
    if task.rotation is None:
        raise Conflict("This task closes by itself when what it tells of is over.")
    return task.rotation


def key_of(task: HumanTask) -> ApiKey:
    """Return the key that the task is about; Conflict for an alert about none."""
    if task.key is None:
        raise Conflict("This task is about no single key.")
    return task.key


def visible_tasks(member: Member) -> QuerySet[HumanTask]:
    """Return the tasks that `member` may see: of visible keys, and alerts for who rotates any."""
    alerts = Q(Exists(grants_with(member, Permission.ROTATE)), key__isnull=True)
    return HumanTask.objects.filter(Q(key__in=visible_keys(member, archived=True)) | alerts)
