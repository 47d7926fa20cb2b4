"""Applications, environments and accounts: what keys belong to."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import visible_applications
from keyvault.api.base import Fields, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import (
    AccountSerializer,
    ApplicationSerializer,
    EnvironmentSerializer,
)
from keyvault.inventory import catalog
from keyvault.models import VendorAccount


class ApplicationFields(Fields):
    """A new application."""

    name = serializers.CharField(max_length=100)
    team = serializers.CharField(default="", allow_blank=True, max_length=100)
    contact = serializers.CharField(default="", allow_blank=True, max_length=254)


class EnvironmentFields(Fields):
    """A new environment; `position` orders the lists."""

    name = serializers.CharField(max_length=100)
    is_production = serializers.BooleanField(default=False)
    position = serializers.IntegerField(default=0, min_value=0, max_value=32767)


class ApplicationList(MemberView):
    """The applications that the asker may see."""

    query_class = PageQuery

    @listing(PageQuery, ApplicationSerializer)
    def get(self, _request: Request) -> Response:
        """List applications, the newest first."""
        return self.page(visible_applications(self.by), ApplicationSerializer)

    @extend_schema(request=ApplicationFields, responses={201: ApplicationSerializer})
    def post(self, _request: Request) -> Response:
        """Add an application; for owners of the installation."""
        made = catalog.add_application(self.by, **self.body(ApplicationFields))
        return Response(ApplicationSerializer(made).data, status=201)


class ApplicationDetail(MemberView):
    """One application."""

    @extend_schema(responses=ApplicationSerializer)
    def get(self, _request: Request, application_id: int) -> Response:
        """Describe the application."""
        found = catalog.get_application(self.by, application_id)
        return Response(ApplicationSerializer(found).data)


class EnvironmentList(MemberView):
    """The environments that the asker may see."""

    query_class = PageQuery

    @listing(PageQuery, EnvironmentSerializer)
    def get(self, _request: Request) -> Response:
        """List environments, the newest first."""
        return self.page(catalog.visible_environments(self.by), EnvironmentSerializer)

    @extend_schema(request=EnvironmentFields, responses={201: EnvironmentSerializer})
    def post(self, _request: Request) -> Response:
        """Add an environment; for owners of the installation."""
        made = catalog.add_environment(self.by, **self.body(EnvironmentFields))
        return Response(EnvironmentSerializer(made).data, status=201)


class EnvironmentDetail(MemberView):
    """One environment."""

    @extend_schema(responses=EnvironmentSerializer)
    def get(self, _request: Request, environment_id: int) -> Response:
        """Describe the environment."""
        found = catalog.get_environment(self.by, environment_id)
        return Response(EnvironmentSerializer(found).data)


class AccountListView(MemberView):
    """The vendor accounts that the asker may see; the rotation app adds the way to make one."""

    query_class = PageQuery

    @listing(PageQuery, AccountSerializer)
    def get(self, _request: Request) -> Response:
        """List accounts, the newest first."""
        rows: QuerySet[VendorAccount] = catalog.visible_accounts(self.by)
        return self.page(rows, AccountSerializer)


class AccountDetail(MemberView):
    """One vendor account."""

    @extend_schema(responses=AccountSerializer)
    def get(self, _request: Request, account_id: int) -> Response:
        """Describe the account."""
        return Response(AccountSerializer(catalog.get_account(self.by, account_id)).data)
