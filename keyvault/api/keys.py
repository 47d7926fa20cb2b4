"""Keys: list, record, describe, check, reveal. A secret is replaced by a new version, never edited."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.authentication import prove_by_password, proved_lately
from keyvault.access.permissions import Permission, visible_keys
from keyvault.api.base import (
    AsItIsField,
    ExpiryField,
    Fields,
    IdField,
    MemberView,
    PageQuery,
    SecretField,
    listing,
)
from keyvault.api.serializers.inventory import (
    KeyDetailSerializer,
    KeySerializer,
    RegisteredSerializer,
    RevealedSerializer,
    VerdictSerializer,
)
from keyvault.core.errors import BadInput
from keyvault.core.json_bodies import shown
from keyvault.inventory import catalog, hold_status, key_search, keys, reveal
from keyvault.inventory.keys import NewKey
from keyvault.inventory.reveal import Wish
from keyvault.models import ApiKey, Member


class KeyQuery(PageQuery):
    """Which keys to list; `search` is part of a name, or the last four characters exactly."""

    account = IdField(required=False)
    environment = IdField(required=False)
    application = IdField(required=False)
    search = serializers.CharField(required=False, max_length=100)
    on_hold = serializers.BooleanField(required=False)
    retired = serializers.BooleanField(required=False)


class RegisterFields(Fields):
    """A key that exists at the vendor already; `mine` makes it one's own instead of a program's."""

    account = IdField()
    environment = IdField()
    application = IdField(required=False)
    mine = serializers.BooleanField(default=False)
    name = serializers.CharField(max_length=100)
    purpose = serializers.CharField(default="", allow_blank=True, max_length=1000)
    vendor_id = serializers.CharField(default="", allow_blank=True, max_length=200)
    expires_at = ExpiryField(default=None, allow_null=True)
    unchecked = serializers.BooleanField(default=False)
    as_it_is = AsItIsField()
    secret = SecretField()


class ChangeFields(Fields):
    """What may be edited of a key."""

    name = serializers.CharField(max_length=100)
    purpose = serializers.CharField(allow_blank=True, max_length=1000)

    def to_internal_value(self, data: Any) -> Any:
        """Say where secrets are replaced: a mask, an empty or a new one must not pass in silence."""
        if set(data) <= set(self.fields):
            return super().to_internal_value(data)
        raise BadInput(
            (
                "Only name and purpose can be edited; nothing was changed. A secret is replaced by a "
                "rotation (POST rotate), or added as the next version (POST versions/)."
            ),
            code="not_editable",
            details={"fields": sorted({shown(name) for name in data if name not in self.fields})},
        )


class RevealFields(Fields):
    """Why, which auditors will read; a password where the session's own proof is too old."""

    password = SecretField(required=False)
    reason = serializers.CharField(max_length=500, allow_blank=True)
    break_glass = serializers.BooleanField(default=False)


class KeyList(MemberView):
    """All keys that the asker may see."""

    query_class = KeyQuery

    @listing(KeyQuery, KeySerializer)
    def get(self, _request: Request) -> Response:
        """List keys, the newest first."""
        return self.page(
            _narrowed(visible_keys(self.by, archived=True), self.filters), KeySerializer
        )

    @extend_schema(request=RegisterFields, responses={201: RegisteredSerializer})
    def post(self, _request: Request) -> Response:
        """Record a key that exists at the vendor; its secret is checked there first."""
        fields = self.body(RegisterFields)
        new = _new_key(self.by, fields)
        said = {name: fields[name] for name in ("unchecked", "as_it_is")}
        added = keys.register_key(self.by, new, fields["secret"], **said)
        return Response(RegisteredSerializer(added).data, status=201)


class KeyDetail(MemberView):
    """One key."""

    @extend_schema(responses=KeyDetailSerializer)
    def get(self, _request: Request, key_id: int) -> Response:
        """Describe the key and its versions."""
        return Response(KeyDetailSerializer(keys.get_key(self.by, key_id)).data)

    @extend_schema(request=ChangeFields, responses=KeyDetailSerializer)
    def put(self, request: Request, key_id: int) -> Response:
        """Replace name and purpose; no secret can be written here."""
        key = keys.get_key(self.by, key_id, Permission.REGISTER)
        keys.change_key(self.by, key, **self.body(ChangeFields))
        return self.get(request, key_id)

    @extend_schema(request=ChangeFields, responses=KeyDetailSerializer)
    def patch(self, request: Request, key_id: int) -> Response:
        """Change name or purpose; no secret can be written here."""
        key = keys.get_key(self.by, key_id, Permission.REGISTER)
        now = {"name": key.name, "purpose": key.purpose}
        keys.change_key(self.by, key, **self.body(ChangeFields, now))
        return self.get(request, key_id)


class KeyCheck(MemberView):
    """Ask the vendor."""

    @extend_schema(request=Fields, responses=VerdictSerializer)
    def post(self, _request: Request, key_id: int) -> Response:
        """Check the current secret with the vendor and note the answer."""
        self.body(Fields)
        verdict = keys.check_key(self.by, keys.get_key(self.by, key_id))
        return Response(VerdictSerializer(verdict).data)


class KeyReveal(MemberView):
    """Show a secret to a person."""

    @extend_schema(request=RevealFields, responses=RevealedSerializer)
    def post(self, _request: Request, key_id: int) -> Response:
        """Reveal the current secret; a fresh proof and a reason are required, and recorded."""
        fields = self.body(RevealFields)
        key = keys.get_key(self.by, key_id)
        wish = Wish(fields["reason"], self._proved(key, fields), fields["break_glass"])
        secret = reveal.reveal(self.by, key, wish)
        assert key.current is not None
        told = {"key_id": key.pk, "version": key.current.number, "version_id": key.current.pk}
        return Response({**told, "secret": secret.reveal()})

    def _proved(self, key: ApiKey, fields: dict[str, Any]) -> bool:
        """Take the session's proof, else the password; a wrong one is never made good by the first."""
        if "password" not in fields:
            return proved_lately(self.request)
        if not prove_by_password(self.by, fields["password"]):
            reveal.note_wrong_password(self.by, key)
        return True


def _narrowed(rows: QuerySet[ApiKey], filters: dict[str, Any]) -> QuerySet[ApiKey]:
    for name in ("account", "environment", "application"):
        if name in filters:
            rows = rows.filter(**{name: filters[name]})
    rows = rows.filter(archived_at__isnull=not filters.get("retired", False))
    rows = rows.annotate(held_now=hold_status.is_on_hold())
    if "on_hold" in filters:
        rows = rows.filter(held_now=filters["on_hold"])
    text = filters.get("search", "")
    if text:
        rows = rows.filter(key_search.matching(text))
    return rows.select_related("account", "environment", "application", "member", "current")


def _new_key(by: Member, fields: dict[str, Any]) -> NewKey:
    application = fields.get("application")
    return NewKey(
        account=catalog.get_account(by, fields["account"]),
        environment=catalog.get_environment(by, fields["environment"]),
        name=fields["name"],
        application=catalog.get_application(by, application) if application else None,
        member=by if fields["mine"] else None,
        purpose=fields["purpose"],
        expires_at=fields["expires_at"],
        vendor_id=fields["vendor_id"],
    )
