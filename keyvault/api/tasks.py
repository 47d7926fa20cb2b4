"""Tasks for people: list them, and complete one with what its kind asks for."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import (
    AsItIsField,
    Fields,
    IdField,
    MemberView,
    PageQuery,
    SecretField,
    listing,
)
from keyvault.api.key_actions import SecretFields
from keyvault.api.rotations import WaiveFields
from keyvault.api.serializers.inventory import AddedSerializer
from keyvault.api.serializers.rotations import TaskSerializer
from keyvault.core.errors import Conflict, NotFound
from keyvault.inventory import keys
from keyvault.models import Member
from rotation.engine import lifecycle, manual_keys
from rotation.human_tasks import close_review, rotation_of, visible_tasks
from rotation.models import HumanTask
from rotation.monitoring import key_checks

_RELATED = ("account", "key__account", "key__environment", "closed_by")
# guard: completion of an incident
_BODIES: dict[str, type[Fields]] = {
    HumanTask.Kind.PASTE: SecretFields,
    HumanTask.Kind.CONFIRM: WaiveFields,
    HumanTask.Kind.DELETE: Fields,
    HumanTask.Kind.LOOK: Fields,
    HumanTask.Kind.OUTAGE: Fields,
    HumanTask.Kind.INCIDENT: Fields,
    HumanTask.Kind.FINDING: Fields,
    HumanTask.Kind.REVIEW: WaiveFields,
}


class TaskQuery(PageQuery):
    """Which tasks to list."""

    key = IdField(required=False)
    kind = serializers.ChoiceField(HumanTask.Kind.choices, required=False)
    open = serializers.BooleanField(required=False)


class CompleteFields(Fields):
    """What the task's kind asks for: paste a secret, confirm with a reason, else nothing."""

    secret = SecretField(required=False)
    as_it_is = AsItIsField(required=False)
    reason = serializers.CharField(required=False)


class CompletedSerializer(serializers.Serializer[Any]):
    """The task as it is now; after a paste, what was stored."""

    task = TaskSerializer()
    added = AddedSerializer(allow_null=True)


class TaskList(MemberView):
    """The tasks about keys that the asker may see."""

    query_class = TaskQuery

    @listing(TaskQuery, TaskSerializer)
    def get(self, _request: Request) -> Response:
        """List tasks, the newest first."""
        rows = visible_tasks(self.by)
        return self.page(_narrowed(rows, self.filters), TaskSerializer)


class TaskDetail(MemberView):
    """One task."""

    @extend_schema(responses=TaskSerializer)
    def get(self, _request: Request, task_id: int) -> Response:
        """Describe the task."""
        return Response(TaskSerializer(get_task(self.by, task_id)).data)


class TaskComplete(MemberView):
    """Do what a task asks for; it closes itself when the proof is there."""

    @extend_schema(request=CompleteFields, responses=CompletedSerializer)
    def post(self, _request: Request, task_id: int) -> Response:
        """Paste a secret, confirm with a reason, or have the vendor asked again now."""
        task = get_task(self.by, task_id)
        fields = self.body(_BODIES[task.kind])
        added = complete(self.by, task, **fields)
        told = {"task": get_task(self.by, task_id), "added": added}
        return Response(CompletedSerializer(told).data)


def complete(
    by: Member, task: HumanTask, secret: str = "", reason: str = "", *, as_it_is: bool = False
) -> keys.Added | None:
    """Do what this kind of task asks for, through the door that it belongs to.

    Raises Conflict for a closed task, and whatever the door raises.
    """
    if task.closed_at is not None:
        raise Conflict("This task is closed already. Nothing was changed.")
    if task.kind == HumanTask.Kind.REVIEW:
        close_review(by, task, reason)
        return None
    if task.kind == HumanTask.Kind.INCIDENT and task.rotation is None:
        key_checks.ask_again(by, task)
        return None
    rotation = rotation_of(task)
    if task.kind == HumanTask.Kind.PASTE:
        return manual_keys.paste_for(by, rotation, secret, as_it_is=as_it_is)
    if task.kind == HumanTask.Kind.CONFIRM:
        lifecycle.waive(by, rotation, reason)
    elif task.kind == HumanTask.Kind.LOOK:
        lifecycle.retry(by, rotation)
    else:
        lifecycle.ask_again(by, rotation)
    return None


def get_task(by: Member, task_id: int) -> HumanTask:
    """Return the task if `by` may see its key; NotFound alike for unknown and foreign ones."""
    tasks = visible_tasks(by).select_related("rotation__key__account", *_RELATED)
    task = tasks.filter(pk=task_id).first()
    if task is None:
        raise NotFound("There is no such task, or it is not yours to see.")
    return task


def _narrowed(rows: QuerySet[HumanTask], filters: dict[str, Any]) -> QuerySet[HumanTask]:
    same = {name: filters[name] for name in ("key", "kind") if name in filters}
    rows = rows.filter(**same)
    if "open" in filters:
        rows = rows.filter(closed_at__isnull=filters["open"])
    return rows.select_related(*_RELATED)
