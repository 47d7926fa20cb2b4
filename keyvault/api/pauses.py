"""Pauses: nothing rotates by itself for a while."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import NamedSerializer
from keyvault.inventory import catalog, keys
from rotation.models import RotationPause
from rotation.scheduling import pauses


class PauseSerializer(serializers.ModelSerializer[RotationPause]):
    """A pause: of a key, of an account, or of everything when neither is named."""

    key = NamedSerializer(allow_null=True)
    account = NamedSerializer(allow_null=True)
    paused_by = NamedSerializer(allow_null=True)

    class Meta:
        model = RotationPause
        fields = ["id", "key", "account", "reason", "ends_at", "paused_by", "paused_at"]
        read_only_fields = fields


class PauseFields(Fields):
    """A new pause."""

    key = IdField(default=None, allow_null=True)
    account = IdField(default=None, allow_null=True)
    reason = serializers.CharField(max_length=300)
    ends_at = serializers.DateTimeField()


class PauseList(MemberView):
    """The pauses that last."""

    query_class = PageQuery

    @listing(PageQuery, PauseSerializer)
    def get(self, _request: Request) -> Response:
        """List them, the newest first."""
        return self.page(pauses.visible_pauses(self.by), PauseSerializer)

    @extend_schema(request=PauseFields, responses={201: PauseSerializer})
    def post(self, _request: Request) -> Response:
        """Let nothing rotate by itself for a while: a key, an account, or everything."""
        fields = self.body(PauseFields)
        key, account = fields.pop("key"), fields.pop("account")
        made = pauses.pause(
            self.by,
            key=keys.get_key(self.by, key) if key else None,
            account=catalog.get_account(self.by, account) if account else None,
            **fields,
        )
        return Response(PauseSerializer(made).data, status=201)


class PauseDetail(MemberView):
    """One of them."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, pause_id: int) -> Response:
        """End it; what became due meanwhile starts with the next ticks."""
        pauses.resume(self.by, pauses.get_pause(self.by, pause_id))
        return Response(status=204)
