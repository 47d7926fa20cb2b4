"""Service tokens: list, issue (the text is shown this once), revoke."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import Permission, may
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import NewTokenSerializer, TokenSerializer
from keyvault.core.errors import NotFound
from keyvault.delivery import tokens
from keyvault.inventory import catalog
from keyvault.models import Member, ServiceToken


class PlaceQuery(PageQuery):
    """Narrow a list to an application, an environment, or both."""

    application = IdField(required=False)
    environment = IdField(required=False)


class TokenFields(Fields):
    """A new token."""

    name = serializers.CharField(max_length=100)
    application = IdField()
    environment = IdField()
    expires_at = serializers.DateTimeField(default=None)
    networks = serializers.ListField(
        child=serializers.CharField(max_length=60), default=list, max_length=20
    )


class RenewFields(Fields):
    """How long the old text goes on working beside the new one, in seconds."""

    overlap_seconds = serializers.IntegerField(default=86400)


class TokenList(MemberView):
    """The service tokens that the asker may know of."""

    query_class = PlaceQuery

    @listing(PlaceQuery, TokenSerializer)
    def get(self, _request: Request) -> Response:
        """List tokens, the newest first, without their texts."""
        return self.page(in_place(_seen(self.by), self.filters), TokenSerializer)

    @extend_schema(request=TokenFields, responses={201: NewTokenSerializer})
    def post(self, _request: Request) -> Response:
        """Issue a token for one application in one environment; its text is shown this once."""
        fields = self.body(TokenFields)
        application = catalog.get_application(self.by, fields["application"])
        environment = catalog.get_environment(self.by, fields["environment"])
        made = tokens.issue(
            self.by,
            fields["name"],
            application,
            environment,
            fields["expires_at"],
            fields["networks"],
        )
        told = NewTokenSerializer({"token": made[0], "text": made[1].reveal()})
        return Response(told.data, status=201)


class TokenDetail(MemberView):
    """One service token."""

    @extend_schema(responses=TokenSerializer)
    def get(self, _request: Request, token_id: int) -> Response:
        """Describe the token, without its text."""
        return Response(TokenSerializer(get_token(self.by, token_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, token_id: int) -> Response:
        """Revoke the token for good."""
        tokens.revoke(self.by, get_token(self.by, token_id))
        return Response(status=204)


class TokenRenew(MemberView):
    """A new text for a token, with an overlap."""

    @extend_schema(request=RenewFields, responses={201: NewTokenSerializer})
    def post(self, _request: Request, token_id: int) -> Response:
        """Renew the token; the new text is shown this once, the old one works during the overlap."""
        token = get_token(self.by, token_id)
        text = tokens.renew(self.by, token, **self.body(RenewFields))
        told = {"token": get_token(self.by, token_id), "text": text.reveal()}
        return Response(NewTokenSerializer(told).data, status=201)


def get_token(by: Member, token_id: int) -> ServiceToken:
    """Return the token if `by` may know of it; NotFound alike for unknown and foreign ones."""
    token = (
        ServiceToken.objects.select_related("application", "environment")
        .filter(pk=token_id)
        .first()
    )
    if token is None or not may(by, Permission.VIEW, token):
        raise NotFound("There is no such token, or it is not yours to see.")
    return token


def in_place(rows: QuerySet[Any], filters: dict[str, Any]) -> QuerySet[Any]:
    """Return the rows of the application and environment that the query names."""
    named = {name: filters[name] for name in ("application", "environment") if name in filters}
    return rows.filter(**named).select_related("application", "environment")


def _seen(by: Member) -> QuerySet[ServiceToken]:
    return ServiceToken.objects.filter(catalog.within_reach(by))
