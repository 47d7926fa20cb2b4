"""How rotations and what belongs to them look in answers; each field is named."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keyvault.api.serializers.inventory import NamedSerializer
from rotation.consumers import holders
from rotation.models import (
    Attempt,
    ChangeFreeze,
    Consumer,
    HumanTask,
    PolicyScope,
    Rotation,
    RotationPolicy,
)
from rotation.models.scheduling import SETTINGS

_MOST_HOLDERS = 200


class NumberSerializer(serializers.Serializer[Any]):
    """A version that a rotation speaks of."""

    id = serializers.IntegerField(source="pk")
    number = serializers.IntegerField()
    state = serializers.CharField()
    tail = serializers.CharField()


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try of a step, or several alike ones in a row."""

    class Meta:
        model = Attempt
        fields = ["step", "outcome", "text", "first_at", "last_at", "count"]
        read_only_fields = fields


class TaskSerializer(serializers.ModelSerializer[HumanTask]):
    """Something only a person can do, and where."""

    key = NamedSerializer(allow_null=True)
    account = NamedSerializer(allow_null=True)
    rotation_id = serializers.IntegerField(allow_null=True)
    closed_by = NamedSerializer(allow_null=True)
    dashboard_url = serializers.SerializerMethodField()

    class Meta:
        model = HumanTask
        fields = [
            "id",
            "kind",
            "text",
            "key",
            "account",
            "rotation_id",
            "dashboard_url",
            "opened_at",
            "closed_at",
            "closed_by",
            "outcome",
        ]
        read_only_fields = fields

    def get_dashboard_url(self, task: HumanTask) -> str:
        """Return where at the vendor to do it; empty when it is about no account."""
        account = task.key.account if task.key else task.account
        return account.dashboard_url if account else ""


class RotationSerializer(serializers.ModelSerializer[Rotation]):
    """A rotation: where it stands, what it waits for, what is proved so far."""

    key = NamedSerializer()
    requested_by = NamedSerializer(allow_null=True)
    waived_by = NamedSerializer(allow_null=True)
    old_version = NumberSerializer(allow_null=True)
    new_version = NumberSerializer(allow_null=True)

    class Meta:
        model = Rotation
        fields = [
            "id",
            "key",
            "step",
            "reason",
            "retires",
            "retire_reason",
            "is_open",
            "requested_by",
            "scheduled_for",
            "old_version",
            "new_version",
            "overlap_seconds",
            "quiet_seconds",
            "waiting_for",
            "waiting_text",
            "waiting_since",
            "due_at",
            "attempt",
            "last_error",
            "cancelling",
            "started_at",
            "step_since",
            "published_at",
            "verified_at",
            "adopted_at",
            "adopted_how",
            "old_gone_at",
            "old_gone_how",
            "waived_by",
            "waived_at",
            "waiver_reason",
            "finished_at",
            "outcome",
        ]
        read_only_fields = fields


class HolderSerializer(serializers.Serializer[Any]):
    """A consumer, or a token of its own, with all its copies: what they were given and proved."""

    name = serializers.CharField()
    kind = serializers.CharField(help_text="consumer or token")
    standing = serializers.CharField(help_text="active, expired, revoked or removed")
    state = serializers.CharField(help_text="never, behind, fetched or acknowledged")
    moved = serializers.BooleanField()
    waived = serializers.BooleanField(
        help_text="a person took responsibility for what has not moved"
    )
    copies = serializers.IntegerField()
    copies_moved = serializers.IntegerField()
    copies_gone = serializers.IntegerField(help_text="not seen for long, by their own rhythm")
    version = NumberSerializer(allow_null=True)
    last_fetch_at = serializers.DateTimeField(source="last_at", allow_null=True)
    every_seconds = serializers.IntegerField(
        help_text="the longest pause of lately between two fetches; 0 is not known"
    )


class RotationDetailSerializer(RotationSerializer):
    """A rotation with its history, the tasks it made, and who moved so far while it is open."""

    attempts = AttemptSerializer(many=True)
    tasks = TaskSerializer(many=True)
    holders = serializers.SerializerMethodField()

    class Meta(RotationSerializer.Meta):
        fields = [*RotationSerializer.Meta.fields, "attempts", "tasks", "holders"]
        read_only_fields = fields

    @extend_schema_field(HolderSerializer(many=True))
    def get_holders(self, rotation: Rotation) -> Any:
        """Return whoever holds the old version or must prove the new one; nobody once it ended."""
        found = holders.of_rotation(rotation)[:_MOST_HOLDERS] if rotation.is_open else []
        return HolderSerializer(found, many=True).data


class StartedSerializer(RotationSerializer):
    """A rotation that was started, or one that was open already and joined."""

    joined = serializers.BooleanField()

    class Meta(RotationSerializer.Meta):
        fields = [*RotationSerializer.Meta.fields, "joined"]
        read_only_fields = fields


class PolicySerializer(serializers.ModelSerializer[RotationPolicy]):
    """When a key rotates by itself."""

    class Meta:
        model = RotationPolicy
        fields = [
            *SETTINGS,
            "own",
            "next_run_at",
            "changed_at",
        ]
        read_only_fields = fields


class LevelSerializer(serializers.ModelSerializer[PolicyScope]):
    """What one level says for every key below it; null leaves it to the level above."""

    account = NamedSerializer(allow_null=True)
    environment = NamedSerializer(allow_null=True)
    application = NamedSerializer(allow_null=True)

    class Meta:
        model = PolicyScope
        fields = ["id", "account", "environment", "application", *SETTINGS, "changed_at"]
        read_only_fields = fields


class FreezeSerializer(serializers.ModelSerializer[ChangeFreeze]):
    """Days on which nothing rotates by itself."""

    environment = NamedSerializer(allow_null=True)

    class Meta:
        model = ChangeFreeze
        fields = ["id", "name", "first_day", "last_day", "environment", "rule"]
        read_only_fields = fields


class ConsumerSerializer(serializers.ModelSerializer[Consumer]):
    """A running place that holds an application's keys."""

    application = NamedSerializer()
    environment = NamedSerializer()
    token_public_id = serializers.CharField(source="token.public_id")

    class Meta:
        model = Consumer
        fields = [
            "id",
            "name",
            "application",
            "environment",
            "token_public_id",
            "webhook_url",
            "active",
            "created_at",
        ]
        read_only_fields = fields


class NewConsumerSerializer(serializers.Serializer[Any]):
    """A consumer that was just recorded; token and webhook secret are shown this once."""

    consumer = ConsumerSerializer()
    token = serializers.CharField()
    webhook_secret = serializers.CharField(allow_null=True)
