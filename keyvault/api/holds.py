"""Holds: every version of a key is kept, until a day or until somebody lifts the hold."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import NamedSerializer
from keyvault.inventory import hold_status, keys
from keyvault.models import KeyHold
from rotation.engine import holds


class HoldSerializer(serializers.ModelSerializer[KeyHold]):
    """A hold, standing or over."""

    key = NamedSerializer()
    set_by = NamedSerializer(allow_null=True)
    lifted_by = NamedSerializer(allow_null=True)

    class Meta:
        model = KeyHold
        fields = [
            "id",
            "key",
            "reason",
            "set_by",
            "set_at",
            "ends_at",
            "lifted_at",
            "lifted_by",
            "lifted_why",
        ]
        read_only_fields = fields


class PlacedSerializer(serializers.Serializer[Any]):
    """A hold that was set; `late` are the versions whose end had begun before."""

    hold = HoldSerializer()
    late = serializers.ListField(child=serializers.IntegerField())


class HoldFields(Fields):
    """A new hold; without an end it stands until it is lifted."""

    key = IdField()
    reason = serializers.CharField(max_length=500)
    ends_at = serializers.DateTimeField(default=None, allow_null=True)


class LiftFields(Fields):
    """Why it may end."""

    reason = serializers.CharField(max_length=500)


class HoldQuery(PageQuery):
    """Which holds to list."""

    key = IdField(required=False)
    open = serializers.BooleanField(required=False)


class HoldList(MemberView):
    """The holds on the keys that the asker may see."""

    query_class = HoldQuery

    @listing(HoldQuery, HoldSerializer)
    def get(self, _request: Request) -> Response:
        """List holds, the newest first."""
        rows = holds.visible_holds(self.by)
        if "key" in self.filters:
            rows = rows.filter(key=self.filters["key"])
        if "open" in self.filters:
            now = {"pk__in": hold_status.active_holds().values("pk")}
            rows = rows.filter(**now) if self.filters["open"] else rows.exclude(**now)
        return self.page(rows, HoldSerializer)

    @extend_schema(request=HoldFields, responses={201: PlacedSerializer})
    def post(self, _request: Request) -> Response:
        """Keep every version of a key from now on."""
        fields = self.body(HoldFields)
        key = keys.get_key(self.by, fields["key"])
        placed = holds.place(self.by, key, fields["reason"], fields["ends_at"])
        told: dict[str, Any] = {"hold": placed.hold, "late": [one.number for one in placed.late]}
        return Response(PlacedSerializer(told).data, status=201)


class HoldDetail(MemberView):
    """One hold."""

    @extend_schema(responses=HoldSerializer)
    def get(self, _request: Request, hold_id: int) -> Response:
        """Describe it."""
        return Response(HoldSerializer(holds.get_hold(self.by, hold_id)).data)


class HoldLift(MemberView):
    """End a hold before its time."""

    @extend_schema(request=LiftFields, responses=HoldSerializer)
    def post(self, _request: Request, hold_id: int) -> Response:
        """Lift it; a second person is asked first, where there is one who could."""
        fields = self.body(LiftFields)
        hold = holds.get_hold(self.by, hold_id)
        self.prove()
        holds.lift(self.by, hold, fields["reason"])
        return Response(HoldSerializer(holds.get_hold(self.by, hold_id)).data)
