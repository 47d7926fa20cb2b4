"""Freezes: days on which nothing rotates by itself."""

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import Fields, IdField, MemberView, PageQuery, SecretField, listing
from keyvault.api.serializers.inventory import NamedSerializer
from keyvault.api.serializers.rotations import FreezeSerializer
from keyvault.core.errors import NotFound
from keyvault.inventory import catalog
from keyvault.models import Member
from rotation.models import ChangeFreeze, FreezeCalendar
from rotation.scheduling import freeze_calendars, freezes


class FreezeFields(Fields):
    """A new freeze; both days count, in each policy's own zone."""

    name = serializers.CharField(max_length=100)
    first_day = serializers.DateField()
    last_day = serializers.DateField()
    environment = IdField(default=None, allow_null=True)
    rule = serializers.CharField(
        default="", allow_blank=True, max_length=200, help_text="Again: an RRULE, or “first Monday”"
    )


class FeedFields(Fields):
    """A calendar whose events are freezes, read each hour; its address goes to Vault."""

    name = serializers.CharField(max_length=100)
    url = SecretField(max_length=1000)
    environment = IdField(default=None, allow_null=True)


class FeedSerializer(serializers.ModelSerializer[FreezeCalendar]):
    """A calendar that is read, without its address."""

    environment = NamedSerializer(allow_null=True)

    class Meta:
        model = FreezeCalendar
        fields = ["id", "name", "host", "environment", "read_at", "last_error", "remarks"]
        read_only_fields = fields


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
        where = catalog.get_environment(self.by, number) if number else None
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


class FeedList(MemberView):
    """The calendars whose events are freezes."""

    query_class = PageQuery

    @listing(PageQuery, FeedSerializer)
    def get(self, _request: Request) -> Response:
        """List calendars, the newest first."""
        return self.page(_feeds(self.by), FeedSerializer)

    @extend_schema(request=FeedFields, responses={201: FeedSerializer})
    def post(self, _request: Request) -> Response:
        """Have a calendar read from now on."""
        fields = self.body(FeedFields)
        self.prove()
        number = fields.pop("environment")
        where = catalog.get_environment(self.by, number) if number else None
        feed = freeze_calendars.add_feed(self.by, **fields, environment=where)
        return Response(FeedSerializer(feed).data, status=201)


class FeedDetail(MemberView):
    """One calendar."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, feed_id: int) -> Response:
        """Remove the calendar with its freezes."""
        feed = _feeds(self.by).filter(pk=feed_id).first()
        if feed is None:
            raise NotFound("There is no such calendar, or it is not yours to see.")
        freeze_calendars.end_feed(self.by, feed)
        return Response(status=204)


def _feeds(by: Member) -> QuerySet[FreezeCalendar]:
    mine = Q(environment__in=catalog.visible_environments(by))
    found = FreezeCalendar.objects.filter(mine | Q(environment__isnull=True))
    return found.select_related("environment")


def _seen(by: Member) -> QuerySet[ChangeFreeze]:
    mine = Q(environment__in=catalog.visible_environments(by))
    found = ChangeFreeze.objects.filter(mine | Q(environment__isnull=True))
    return found.select_related("environment")
