"""Tasks for people: opened once, closed by a proof or when they are no longer needed."""

from django.db import transaction
from django.utils import timezone

from keyvault.audit.log import Actor, record
from keyvault.audit.models import Action
from keyvault.models import KeyVersion, Member
from rotation.models import HumanTask, Rotation


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
    if kinds:
        tasks = tasks.filter(kind__in=kinds)
    closed = 0
    with transaction.atomic():
        for task in tasks.select_for_update():
            task.closed_at, task.closed_by, task.outcome = timezone.now(), by, outcome[:300]
            task.save(update_fields=["closed_at", "closed_by", "outcome"])
            record(Action.TASK_CLOSED, actor, task, kind=task.kind, reason=outcome)
            closed += 1
    return closed
