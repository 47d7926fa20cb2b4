"""What one was told, how one is told, and who else is."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import Fields, IdField, MemberView, PageQuery, SecretField, listing
from keyvault.api.serializers.inventory import NamedSerializer
from keyvault.inventory import catalog
from rotation.models import NotificationChannel, NotificationDelivery, NotificationPreference
from rotation.models.notifications import default_zone
from rotation.notifications import channels, inbox, preferences


class NoticeSerializer(serializers.ModelSerializer[NotificationDelivery]):
    """Something that the asker was told."""

    kind = serializers.CharField(source="notice.kind")
    title = serializers.CharField(source="notice.title")
    text = serializers.CharField(source="notice.text")
    urgent = serializers.BooleanField(source="notice.urgent")
    link = serializers.CharField(source="notice.link")
    at = serializers.DateTimeField(source="notice.created_at")

    class Meta:
        model = NotificationDelivery
        fields = ["id", "kind", "title", "text", "urgent", "link", "at", "read_at"]
        read_only_fields = fields


class PreferenceSerializer(serializers.ModelSerializer[NotificationPreference]):
    """How one is told."""

    class Meta:
        model = NotificationPreference
        fields = ["mail", "only_urgent", "weekly", "time_zone", "quiet_from", "quiet_to"]
        read_only_fields = fields


class PreferenceFields(Fields):
    """How one wants to be told; incidents come whatever is chosen."""

    mail = serializers.BooleanField(default=True)
    only_urgent = serializers.BooleanField(default=False)
    weekly = serializers.BooleanField(default=True)
    time_zone = serializers.CharField(max_length=60, default=default_zone)
    quiet_from = serializers.TimeField(default=None, allow_null=True)
    quiet_to = serializers.TimeField(default=None, allow_null=True)


class HookSerializer(serializers.ModelSerializer[NotificationChannel]):
    """A chat or a program that is told; its address lies in Vault."""

    application = NamedSerializer(allow_null=True)

    class Meta:
        model = NotificationChannel
        fields = ["id", "name", "kind", "host", "application", "only_urgent", "created_at"]
        read_only_fields = fields


class NewHookSerializer(serializers.Serializer[Any]):
    """A hook that was just added, with a program's signing secret, shown this once."""

    hook = HookSerializer()
    signing_secret = serializers.CharField(allow_null=True)


class HookFields(Fields):
    """A new hook."""

    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(NotificationChannel.Kind.choices)
    url = SecretField()
    application = IdField(default=None, allow_null=True)
    only_urgent = serializers.BooleanField(default=False)


class NoticeList(MemberView):
    """What the asker was told."""

    query_class = PageQuery

    @listing(PageQuery, NoticeSerializer)
    def get(self, _request: Request) -> Response:
        """List it, the newest first."""
        return self.page(inbox.inbox(self.by), NoticeSerializer)


class NoticePreference(MemberView):
    """How the asker is told."""

    @extend_schema(responses=PreferenceSerializer)
    def get(self, _request: Request) -> Response:
        """Show it."""
        return Response(PreferenceSerializer(preferences.preference_of(self.by)).data)

    @extend_schema(request=PreferenceFields, responses=PreferenceSerializer)
    def put(self, _request: Request) -> Response:
        """Choose it."""
        chosen = preferences.set_preference(self.by, **self.body(PreferenceFields))
        return Response(PreferenceSerializer(chosen).data)


class NoticeTest(MemberView):
    """Try one's own mail."""

    @extend_schema(request=Fields, responses={202: None})
    def post(self, _request: Request) -> Response:
        """Send oneself a test within half a minute."""
        channels.send_test(self.by)
        return Response(status=202)


class HookList(MemberView):
    """The chats and programs that are told, for owners."""

    query_class = PageQuery

    @listing(PageQuery, HookSerializer)
    def get(self, _request: Request) -> Response:
        """List them, the newest first."""
        return self.page(channels.visible_channels(self.by), HookSerializer)

    @extend_schema(request=HookFields, responses={201: NewHookSerializer})
    def post(self, _request: Request) -> Response:
        """Add one; a program's signing secret is shown this once."""
        fields = self.body(HookFields)
        self.prove()
        number, kind = fields.pop("application"), NotificationChannel.Kind(fields.pop("kind"))
        where = catalog.get_application(self.by, number) if number else None
        made = channels.add_channel(self.by, kind=kind, application=where, **fields)
        secret = made.secret.reveal() if made.secret else None
        told = {"hook": made.hook, "signing_secret": secret}
        return Response(NewHookSerializer(told).data, status=201)


class HookDetail(MemberView):
    """One of them."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, hook_id: int) -> Response:
        """Tell it nothing any more."""
        self.prove()
        channels.remove_channel(self.by, channels.get_channel(self.by, hook_id))
        return Response(status=204)


class HookTest(MemberView):
    """Try one."""

    @extend_schema(request=Fields, responses={202: None})
    def post(self, _request: Request, hook_id: int) -> Response:
        """Send it a test within half a minute."""
        channels.send_test(self.by, channels.get_channel(self.by, hook_id))
        return Response(status=202)
