"""How things look in answers; each field is named, so that a new column is never shown by itself.

Where a secret lies in Vault and its fingerprint are in none of them.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keyvault.audit.models import AuditEvent
from keyvault.delivery import token_secrets
from keyvault.inventory import hold_status
from keyvault.inventory.keys import Added
from keyvault.models import (
    ApiKey,
    Application,
    Approval,
    ApprovalRule,
    Environment,
    Grant,
    Group,
    KeyVersion,
    Member,
    ServiceToken,
    VendorAccount,
)


class NamedSerializer(serializers.Serializer[Any]):
    """A thing that another one refers to."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField(source="__str__")


class ApplicationSerializer(serializers.ModelSerializer[Application]):
    """A program that uses keys."""

    class Meta:
        model = Application
        fields = ["id", "name", "team", "contact", "created_at"]
        read_only_fields = fields


class EnvironmentSerializer(serializers.ModelSerializer[Environment]):
    """Development, production …"""

    class Meta:
        model = Environment
        fields = ["id", "name", "is_production", "position"]
        read_only_fields = fields


class AccountSerializer(serializers.ModelSerializer[VendorAccount]):
    """An account at a vendor; whether it has a management credential, never which."""

    has_management_credential = serializers.SerializerMethodField()

    class Meta:
        model = VendorAccount
        fields = [
            "id",
            "name",
            "provider",
            "base_url",
            "dashboard_url",
            "has_management_credential",
            "management_since",
            "vendor_account",
            "created_at",
        ]
        read_only_fields = fields

    def get_has_management_credential(self, account: VendorAccount) -> bool:
        """Return whether keys can be made and deleted there by program."""
        return account.management_path is not None


class VersionSerializer(serializers.ModelSerializer[KeyVersion]):
    """One secret that a key has had, by its last four characters."""

    class Meta:
        model = KeyVersion
        fields = [
            "id",
            "number",
            "state",
            "tail",
            "source",
            "vendor_id",
            "link",
            "linked_at",
            "link_text",
            "created_at",
            "published_at",
            "retired_at",
            "refused_at",
            "destroyed_at",
            "expires_at",
            "checked_at",
            "check_answer",
            "check_text",
        ]
        read_only_fields = fields


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key in a list."""

    account = NamedSerializer()
    environment = NamedSerializer()
    application = NamedSerializer(allow_null=True)
    member = NamedSerializer(allow_null=True)
    current = VersionSerializer(allow_null=True)
    on_hold = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "purpose",
            "account",
            "environment",
            "application",
            "member",
            "current",
            "created_at",
            "rotated_at",
            "archived_at",
            "on_hold",
        ]
        read_only_fields = fields

    def get_on_hold(self, key: ApiKey) -> bool:
        """Return whether a hold stands; lists have asked for all their keys at once."""
        known: bool | None = getattr(key, "held_now", None)
        return bool(hold_status.held_among([key.pk])) if known is None else known


class KeyDetailSerializer(KeySerializer):
    """A key with all its versions."""

    versions = VersionSerializer(many=True)

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "versions"]
        read_only_fields = fields


class VerdictSerializer(serializers.Serializer[Any]):
    """The vendor's answer about a secret."""

    answer = serializers.ChoiceField(["valid", "refused", "cannot_tell"])
    text = serializers.CharField()


class AddedSerializer(serializers.Serializer[Added]):
    """A secret that was stored, the vendor's answer, and what was taken off around it."""

    version = VersionSerializer()
    check = VerdictSerializer(source="verdict")
    notes = serializers.ListField(child=serializers.CharField())


class RegisteredSerializer(AddedSerializer):
    """A key that was recorded, as well."""

    key = KeySerializer(source="version.key")


class RevealedSerializer(serializers.Serializer[Any]):
    """A secret, shown to a person who has just given their password and a reason."""

    key_id = serializers.IntegerField()
    version = serializers.IntegerField()
    version_id = serializers.IntegerField()
    secret = serializers.CharField()


class FormerTextSerializer(serializers.Serializer[Any]):
    """A former text of a token that still opens until its end; to whom it was shown, and its last use."""

    shown_at = serializers.DateTimeField()
    shown_to = serializers.CharField()
    ends_at = serializers.DateTimeField()
    used_at = serializers.DateTimeField(allow_null=True)


class TokenSerializer(serializers.ModelSerializer[ServiceToken]):
    """A service token by its public part; `former_texts` still open beside the present one."""

    application = NamedSerializer()
    environment = NamedSerializer()
    former_texts = serializers.SerializerMethodField()

    @extend_schema_field(FormerTextSerializer(many=True))
    def get_former_texts(self, token: ServiceToken) -> Any:
        """Return the former texts that still open, the last one first."""
        return FormerTextSerializer(token_secrets.open_formers(token), many=True).data

    class Meta:
        model = ServiceToken
        fields = [
            "id",
            "name",
            "public_id",
            "application",
            "environment",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "networks",
            "renewed_at",
            "former_until",
            "former_used_at",
            "former_texts",
        ]
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer[Any]):
    """A token that was just made; its text is shown this once."""

    token = TokenSerializer()
    text = serializers.CharField()


class MemberSerializer(serializers.ModelSerializer[Member]):
    """A person."""

    name = serializers.CharField(source="__str__")

    class Meta:
        model = Member
        fields = [
            "id",
            "name",
            "email",
            "is_active",
            "date_joined",
            "last_login",
            "left_at",
            "returned_at",
        ]
        read_only_fields = fields


class GroupSerializer(serializers.ModelSerializer[Group]):
    """People who have roles together."""

    members = NamedSerializer(many=True)

    class Meta:
        model = Group
        fields = ["id", "name", "members", "created_at"]
        read_only_fields = fields


class GrantSerializer(serializers.ModelSerializer[Grant]):
    """A role of a member or of a group; what is null stands for all of it."""

    member = NamedSerializer(allow_null=True)
    group = NamedSerializer(allow_null=True)
    application = NamedSerializer(allow_null=True)
    environment = NamedSerializer(allow_null=True)

    class Meta:
        model = Grant
        fields = [
            "id",
            "member",
            "group",
            "role",
            "application",
            "environment",
            "expires_at",
            "created_at",
        ]
        read_only_fields = fields


class MemberDetailSerializer(serializers.Serializer[Any]):
    """A person with groups and roles."""

    member = MemberSerializer()
    groups = NamedSerializer(many=True)
    grants = GrantSerializer(many=True)


class LinkSerializer(serializers.Serializer[Any]):
    """A link that lets somebody in, shown this once."""

    link = serializers.CharField()


class InvitedSerializer(LinkSerializer):
    """A person who was invited, and their link."""

    member = MemberSerializer()


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """A request for a second person; `parameters` is the exact text that the act is held to."""

    asked_by = NamedSerializer()
    decided_by = NamedSerializer(allow_null=True)
    key = NamedSerializer(allow_null=True)

    class Meta:
        model = Approval
        fields = [
            "id",
            "act",
            "what",
            "parameters",
            "key",
            "reason",
            "asked_by",
            "asked_at",
            "expires_at",
            "decided_by",
            "decided_at",
            "granted",
            "used_at",
            "lapsed_at",
            "lapsed_why",
        ]
        read_only_fields = fields


class RuleSerializer(serializers.ModelSerializer[ApprovalRule]):
    """An act that needs a second person."""

    environment = NamedSerializer(allow_null=True)

    class Meta:
        model = ApprovalRule
        fields = ["id", "act", "environment", "created_at"]
        read_only_fields = fields


class AuditSerializer(serializers.ModelSerializer[AuditEvent]):
    """One row of the audit log; `payload` is the exact text under the hash."""

    prev = serializers.SerializerMethodField()
    hash = serializers.SerializerMethodField()

    class Meta:
        model = AuditEvent
        fields = [
            "seq",
            "at",
            "action",
            "outcome",
            "actor_kind",
            "actor_id",
            "actor_label",
            "object_kind",
            "object_id",
            "object_label",
            "key_id",
            "request_id",
            "payload",
            "prev",
            "hash",
        ]
        read_only_fields = fields

    def get_prev(self, event: AuditEvent) -> str:
        """Return the hash of the row before, in hex."""
        return bytes(event.prev).hex()

    def get_hash(self, event: AuditEvent) -> str:
        """Return the row's hash, in hex."""
        return bytes(event.hash).hex()
