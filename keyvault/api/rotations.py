"""Rotations: look at them, and cancel, retry or waive."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import Permission, may, visible_keys
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.rotations import RotationDetailSerializer, RotationSerializer
from keyvault.core.errors import NotFound
from keyvault.models import Member
from rotation.engine import lifecycle
from rotation.models import OPEN_STEPS, Rotation, Step

_RELATED = (
    "key__account",
    "key__environment",
    "requested_by",
    "waived_by",
    "old_version",
    "new_version",
)


class RotationQuery(PageQuery):
    """Which rotations to list."""

    key = IdField(required=False)
    step = serializers.ChoiceField(Step.choices, required=False)
    open = serializers.BooleanField(required=False)


class WaiveFields(Fields):
    """How the asker knows that nothing needs the old key; it goes on record."""

    reason = serializers.CharField(max_length=500, allow_blank=True)


class RotationList(MemberView):
    """The rotations of the keys that the asker may see."""

    query_class = RotationQuery

    @listing(RotationQuery, RotationSerializer)
    def get(self, _request: Request) -> Response:
        """List rotations, the newest first."""
        rows = Rotation.objects.filter(key__in=visible_keys(self.by, archived=True))
        return self.page(_narrowed(rows, self.filters), RotationSerializer)


class RotationDetail(MemberView):
    """One rotation."""

    @extend_schema(responses=RotationDetailSerializer)
    def get(self, _request: Request, rotation_id: int) -> Response:
        """Describe the rotation, its attempts, its tasks and what it waits for."""
        return Response(RotationDetailSerializer(get_rotation(self.by, rotation_id)).data)


class RotationCancel(MemberView):
    """End a rotation early."""

    @extend_schema(request=Fields, responses=RotationDetailSerializer)
    def post(self, _request: Request, rotation_id: int) -> Response:
        """Cancel before consumers are given the new secret."""
        rotation = get_rotation(self.by, rotation_id)
        self.body(Fields)
        lifecycle.cancel(self.by, rotation)
        return Response(RotationDetailSerializer(get_rotation(self.by, rotation_id)).data)


class RotationRetry(MemberView):
    """Look again now."""

    @extend_schema(request=Fields, responses=RotationDetailSerializer)
    def post(self, _request: Request, rotation_id: int) -> Response:
        """Try the present step again at once, with its failures forgotten."""
        rotation = get_rotation(self.by, rotation_id)
        self.body(Fields)
        lifecycle.retry(self.by, rotation)
        return Response(RotationDetailSerializer(get_rotation(self.by, rotation_id)).data)


class RotationWaive(MemberView):
    """Go on without proof."""

    @extend_schema(request=WaiveFields, responses=RotationDetailSerializer)
    def post(self, _request: Request, rotation_id: int) -> Response:
        """Take responsibility for deleting the old key without proof that all consumers moved."""
        rotation = get_rotation(self.by, rotation_id)
        lifecycle.waive(self.by, rotation, self.body(WaiveFields)["reason"])
        return Response(RotationDetailSerializer(get_rotation(self.by, rotation_id)).data)


def get_rotation(by: Member, rotation_id: int) -> Rotation:
    """Return the rotation if `by` may see its key; NotFound alike for unknown and foreign ones."""
    rotation = (
        Rotation.objects.select_related(*_RELATED)
        .prefetch_related("attempts", "tasks__closed_by", "tasks__key__account")
        .prefetch_related("tasks__key__environment")
        .filter(pk=rotation_id)
        .first()
    )
    if rotation is None or not may(by, Permission.VIEW, rotation.key):
        raise NotFound("There is no such rotation, or it is not yours to see.")
    return rotation


def _narrowed(rows: QuerySet[Rotation], filters: dict[str, Any]) -> QuerySet[Rotation]:
    same = {name: filters[name] for name in ("key", "step") if name in filters}
    rows = rows.filter(**same)
    if "open" in filters:
        is_open = {"step__in": OPEN_STEPS}
        rows = rows.filter(**is_open) if filters["open"] else rows.exclude(**is_open)
    return rows.select_related(*_RELATED)
