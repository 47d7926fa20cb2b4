"""Vendor accounts and consumers: list and add; what is secret is shown once or never."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import Permission, may
from keyvault.api.base import AsItIsField, Fields, IdField, MemberView, SecretField, listing
from keyvault.api.places import AccountListView
from keyvault.api.serializers.inventory import AccountSerializer
from keyvault.api.serializers.rotations import ConsumerSerializer, NewConsumerSerializer
from keyvault.api.tokens import PlaceQuery, in_place
from keyvault.core.errors import NotFound
from keyvault.inventory import account_settings, accounts, catalog
from keyvault.inventory.account_settings import ACCOUNT_SETTINGS, AccountSetting
from keyvault.models import Member, VendorAccount
from keyvault.vendors import PROVIDERS
from rotation.consumers import registry
from rotation.engine import management_credentials
from rotation.models import Consumer


class AccountFields(Fields):
    """A new account; the management credential goes to Vault and is never shown again."""

    name = serializers.CharField(max_length=100)
    provider = serializers.ChoiceField(sorted(PROVIDERS))
    base_url = serializers.CharField(max_length=500)
    dashboard_url = serializers.CharField(default="", allow_blank=True, max_length=500)
    management_credential = SecretField(default="")
    as_it_is = AsItIsField()


class ConsumerFields(Fields):
    """A new consumer."""

    name = serializers.CharField(max_length=100)
    application = IdField()
    environment = IdField()
    webhook_url = serializers.CharField(default="", allow_blank=True, max_length=500)
    expires_at = serializers.DateTimeField(default=None)


class AccountList(AccountListView):
    """The vendor accounts that the asker may see."""

    @extend_schema(request=AccountFields, responses={201: AccountSerializer})
    def post(self, _request: Request) -> Response:
        """Add an account; for owners of the installation."""
        fields = self.body(AccountFields)
        self.prove()
        made = accounts.add_account(self.by, **fields)
        return Response(AccountSerializer(made).data, status=201)


class CredentialFields(Fields):
    """Another management credential; it goes to Vault and is never shown again."""

    credential = SecretField()
    as_it_is = AsItIsField()


class AccountCredential(MemberView):
    """The management credential of an account."""

    @extend_schema(request=CredentialFields, responses=AccountSerializer)
    def post(self, _request: Request, account_id: int) -> Response:
        """Replace it: it is tried first, and must be of the same account at the vendor; for owners."""
        account = catalog.get_account(self.by, account_id)
        fields = self.body(CredentialFields)
        self.prove()
        changed = management_credentials.replace_credential(
            self.by, account, fields["credential"], as_it_is=fields["as_it_is"]
        )
        return Response(AccountSerializer(changed).data)


def _field(setting: AccountSetting) -> serializers.Field[Any, Any, Any, Any]:
    text = setting.help_text or setting.label
    if setting.whole:
        return serializers.IntegerField(required=False, allow_null=True, help_text=text)
    return serializers.FloatField(required=False, allow_null=True, help_text=text)


# One field for each setting; null follows the vendor's own figure or the installation's setting.
AccountSettingsFields = type(
    "AccountSettingsFields",
    (Fields,),
    {
        "__doc__": "Settings of a vendor account; null leaves one to its default.",
        **{setting.name: _field(setting) for setting in ACCOUNT_SETTINGS},
    },
)


class AccountSettings(MemberView):
    """Limits and timings of an account."""

    @extend_schema(responses=AccountSettingsFields)
    def get(self, _request: Request, account_id: int) -> Response:
        """Show them; null: the default counts."""
        return Response(_settings_of(catalog.get_account(self.by, account_id)))

    @extend_schema(request=AccountSettingsFields, responses=AccountSettingsFields)
    def patch(self, _request: Request, account_id: int) -> Response:
        """Change those that the body names; for owners."""
        account = catalog.get_account(self.by, account_id)
        fields = self.body(AccountSettingsFields)
        self.prove()
        return Response(_settings_of(account_settings.change_settings(self.by, account, fields)))


def _settings_of(account: VendorAccount) -> dict[str, float | None]:
    return {setting.name: account.settings.get(setting.name) for setting in ACCOUNT_SETTINGS}


class ConsumerList(MemberView):
    """The consumers that the asker may know of."""

    query_class = PlaceQuery

    @listing(PlaceQuery, ConsumerSerializer)
    def get(self, _request: Request) -> Response:
        """List consumers, the newest first."""
        rows = Consumer.objects.filter(catalog.within_reach(self.by)).select_related("token")
        return self.page(in_place(rows, self.filters), ConsumerSerializer)

    @extend_schema(request=ConsumerFields, responses={201: NewConsumerSerializer})
    def post(self, _request: Request) -> Response:
        """Add a consumer; its token and webhook secret are shown this once."""
        fields = self.body(ConsumerFields)
        fields["application"] = catalog.get_application(self.by, fields["application"])
        fields["environment"] = catalog.get_environment(self.by, fields["environment"])
        # guard: proof before a webhook
        if fields["webhook_url"]:
            self.prove()
        made = registry.add_consumer(self.by, **fields)
        told = {
            "consumer": made.consumer,
            "token": made.token.reveal(),
            "webhook_secret": made.webhook_secret.reveal() if made.webhook_secret else None,
        }
        return Response(NewConsumerSerializer(told).data, status=201)


class ConsumerDetail(MemberView):
    """One consumer."""

    @extend_schema(responses=ConsumerSerializer)
    def get(self, _request: Request, consumer_id: int) -> Response:
        """Describe the consumer."""
        return Response(ConsumerSerializer(get_consumer(self.by, consumer_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, consumer_id: int) -> Response:
        """Take the consumer out of use: its token ends, and no rotation waits for it."""
        registry.remove_consumer(self.by, get_consumer(self.by, consumer_id))
        return Response(status=204)


def get_consumer(by: Member, consumer_id: int) -> Consumer:
    """Return the consumer if `by` may know of it; NotFound alike for unknown and foreign ones."""
    consumer = (
        Consumer.objects.select_related("token", "application", "environment")
        .filter(pk=consumer_id)
        .first()
    )
    if consumer is None or not may(by, Permission.VIEW, consumer.token):
        raise NotFound("There is no such consumer, or it is not yours to see.")
    return consumer
