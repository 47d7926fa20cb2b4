"""Campaigns: start one over every key that matches, see how each stands, accept or retry one."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access import members
from keyvault.access.permissions import Permission, may
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.core.errors import NotFound
from keyvault.inventory import catalog
from keyvault.models import Member
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.models import Reason
from rotation.models.campaigns import Campaign, CampaignItem


class CampaignFields(Fields):
    """A new campaign: over what a person or an application's tokens know, or the keys of some places.

    `person`: whatever they were shown, brought in, own or could fetch. `readable_by`: whatever the
    tokens of this application could read, `since` then. Else the keys of an account, an
    application, an environment.
    """

    title = serializers.CharField(max_length=200)
    reason = serializers.ChoiceField([str(one) for one in service.REASONS])
    person = IdField(default=None, allow_null=True)
    readable_by = IdField(default=None, allow_null=True)
    since = serializers.DateTimeField(default=None, allow_null=True)
    account = IdField(default=None, allow_null=True)
    application = IdField(default=None, allow_null=True)
    environment = IdField(default=None, allow_null=True)


class AcceptFields(Fields):
    """Why a key may stay as it is."""

    reason = serializers.CharField(max_length=500)


class CampaignSerializer(serializers.ModelSerializer[Campaign]):
    """A campaign, without its keys."""

    class Meta:
        model = Campaign
        fields = ["id", "title", "reason", "started_at", "closed_at"]
        read_only_fields = fields


class StandingSerializer(serializers.Serializer[Any]):
    """How one key stands."""

    item = serializers.IntegerField()
    key = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField()
    text = serializers.CharField()
    rotation = serializers.IntegerField(allow_null=True)


class ReportSerializer(CampaignSerializer):
    """A campaign with the standing of each of its keys."""

    progress = serializers.DictField(child=serializers.IntegerField())
    keys = StandingSerializer(many=True)

    class Meta(CampaignSerializer.Meta):
        fields = [*CampaignSerializer.Meta.fields, "progress", "keys"]


class CampaignList(MemberView):
    """All campaigns; for owners of the installation."""

    query_class = PageQuery

    @listing(PageQuery, CampaignSerializer)
    def get(self, _request: Request) -> Response:
        """List campaigns, the newest first."""
        return self.page(_seen(self.by), CampaignSerializer)

    @extend_schema(request=CampaignFields, responses={201: ReportSerializer})
    def post(self, _request: Request) -> Response:
        """Start a campaign over every key that matches, whatever its state."""
        fields = self.body(CampaignFields)
        title, reason = fields.pop("title"), Reason(fields.pop("reason"))
        choice = _choice(self.by, **fields)
        campaign = service.start(self.by, title, reason, service.exposed_by(choice))
        return Response(_told(campaign), status=201)


class CampaignDetail(MemberView):
    """One campaign."""

    @extend_schema(responses=ReportSerializer)
    def get(self, _request: Request, campaign_id: int) -> Response:
        """Show how each of its keys stands."""
        return Response(_told(_one(self.by, campaign_id)))


class ItemAccept(MemberView):
    """Leave a key as it is, on one's own word."""

    @extend_schema(request=AcceptFields, responses=ReportSerializer)
    def post(self, _request: Request, campaign_id: int, item_id: int) -> Response:
        """Accept the key with a reason, which goes on record."""
        campaign = _one(self.by, campaign_id)
        service.accept(self.by, _item(campaign, item_id), **self.body(AcceptFields))
        return Response(_told(campaign))


class ItemRetry(MemberView):
    """Try a key again."""

    @extend_schema(request=Fields, responses=ReportSerializer)
    def post(self, _request: Request, campaign_id: int, item_id: int) -> Response:
        """Have a rotation that failed started anew."""
        campaign = _one(self.by, campaign_id)
        service.retry(self.by, _item(campaign, item_id))
        return Response(_told(campaign))


def _choice(
    by: Member,
    person: int | None,
    readable_by: int | None,
    since: datetime | None,
    account: int | None,
    application: int | None,
    environment: int | None,
) -> Choice:
    return Choice(
        account=catalog.get_account(by, account) if account else None,
        application=catalog.get_application(by, application) if application else None,
        environment=catalog.get_environment(by, environment) if environment else None,
        person=members.get_member(by, person) if person else None,
        readable_by=catalog.get_application(by, readable_by) if readable_by else None,
        since=since,
    )


def _seen(by: Member) -> Any:
    return Campaign.objects.all() if may(by, Permission.MANAGE) else Campaign.objects.none()


def _one(by: Member, campaign_id: int) -> Campaign:
    found: Campaign | None = _seen(by).filter(pk=campaign_id).first()
    if found is None:
        raise NotFound("There is no such campaign, or it is not yours to see.")
    return found


def _item(campaign: Campaign, item_id: int) -> CampaignItem:
    found = campaign.items.select_related("key").filter(pk=item_id).first()
    if found is None:
        raise NotFound("This campaign has no such key.")
    return found


def _told(campaign: Campaign) -> dict[str, Any]:
    campaign.refresh_from_db()
    standings = service.report(campaign)
    keys = [
        {
            "item": one.item.pk,
            "key": one.item.key_id,
            "name": str(one.item.key),
            "state": one.state,
            "text": one.text,
            "rotation": one.item.rotation_id,
        }
        for one in standings
    ]
    told = CampaignSerializer(campaign).data
    return {**told, "progress": service.progress(standings), "keys": keys}
