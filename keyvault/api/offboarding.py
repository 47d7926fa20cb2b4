"""What somebody who leaves could reach, and taking it all back."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access import members
from keyvault.api.base import Fields, IdField, MemberView
from keyvault.api.serializers.inventory import (
    GrantSerializer,
    LinkSerializer,
    NamedSerializer,
    TokenSerializer,
)
from rotation.campaigns import offboarding, reinstatement


class LeaveFields(Fields):
    """Who takes over their keys, and how long their service tokens go on."""

    heir = IdField(required=False)
    token_hours = serializers.IntegerField(default=0, min_value=0, max_value=168)


class ExposureSerializer(serializers.Serializer[Any]):
    """A key that must be rotated, and why."""

    key = NamedSerializer()
    how = serializers.ListField(child=serializers.CharField())


class PlanSerializer(serializers.Serializer[Any]):
    """What off-boarding takes back."""

    member = NamedSerializer()
    exposures = ExposureSerializer(many=True)
    owned = NamedSerializer(many=True)
    tokens = TokenSerializer(many=True)
    grants = GrantSerializer(many=True)
    groups = NamedSerializer(many=True)
    sessions = serializers.IntegerField()


class DoneSerializer(serializers.Serializer[Any]):
    """What was taken back, and the campaign that rotates what the person knew."""

    plan = PlanSerializer()
    campaign = NamedSerializer(allow_null=True)


class MemberOffboard(MemberView):
    """Off-board a person."""

    @extend_schema(responses=PlanSerializer)
    def get(self, _request: Request, member_id: int) -> Response:
        """Show what it would take back; nothing is changed."""
        member = members.get_member(self.by, member_id)
        return Response(PlanSerializer(offboarding.plan(self.by, member)).data)

    @extend_schema(request=LeaveFields, responses=DoneSerializer)
    def post(self, _request: Request, member_id: int) -> Response:
        """End sessions, roles and tokens, hand over keys, and rotate what the person knows."""
        fields = self.body(LeaveFields)
        member = members.get_member(self.by, member_id)
        self.prove()
        heir = members.get_member(self.by, fields["heir"]) if "heir" in fields else self.by
        hours = fields["token_hours"]
        done = offboarding.off_board(self.by, member, heir=heir, token_hours=hours)
        return Response(DoneSerializer(done).data)


class MemberReturn(MemberView):
    """Let somebody who left come back."""

    @extend_schema(request=Fields, responses={201: LinkSerializer})
    def post(self, _request: Request, member_id: int) -> Response:
        """Take the same person in again, without any role; the link is shown this once."""
        self.body(Fields)
        member = members.get_member(self.by, member_id)
        self.prove()
        link = reinstatement.let_come_back(self.by, member)
        return Response({"link": link.reveal()}, status=201)
