"""Freezes: days on which nothing rotates by itself."""

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault import inventory
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.errors import NotFound
from keyvault.models import Member
from rotation import freezes
from rotation.api.serializers import FreezeSerializer
from rotation.models import Freeze


class FreezeFields(Fields):
    """A new freeze; both days count, in each policy's own zone."""

    name = serializers.CharField(max_length=100)
    first_day = serializers.DateField()
    last_day = serializers.DateField()
    environment = IdField(default=None, allow_null=True)


class FreezeList(MemberView):
    """The freezes of the environments that the asker may know of."""

    query_class = PageQuery

    @listing(PageQuery, FreezeSerializer)
    def get(self, _request: Request) -> Response:
        """List freezes, the newest first."""
        return self.page(_seen(self.by), FreezeSerializer)

    @extend_schema(request=FreezeFields, responses={201: FreezeSerializer})
    def post(self, _request: Request) -> Response:
        """Add a freeze; what would have been due on its days is planned anew at once."""
        fields = self.body(FreezeFields)
        number = fields.pop("environment")
        where = inventory.get_environment(self.by, number) if number else None
        freeze = freezes.add_freeze(self.by, **fields, environment=where)
        return Response(FreezeSerializer(freeze).data, status=201)


class FreezeDetail(MemberView):
    """One freeze."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, freeze_id: int) -> Response:
        """End the freeze."""
        freeze = _seen(self.by).filter(pk=freeze_id).first()
        if freeze is None:
            raise NotFound("There is no such freeze, or it is not yours to see.")
        freezes.end_freeze(self.by, freeze)
        return Response(status=204)


def _seen(by: Member) -> QuerySet[Freeze]:
    mine = Q(environment__in=inventory.visible_environments(by))
    found = Freeze.objects.filter(mine | Q(environment__isnull=True))
    return found.select_related("environment")
