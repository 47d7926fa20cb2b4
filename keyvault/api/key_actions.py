"""What the rotation app adds to a key: rotate it, keep a standby ready, set its policy."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.api.base import AsItIsField, Fields, MemberView, SecretField
from keyvault.api.rotations import get_rotation
from keyvault.api.serializers.inventory import AddedSerializer, VersionSerializer
from keyvault.api.serializers.rotations import (
    HolderSerializer,
    PolicySerializer,
    RotationSerializer,
    StartedSerializer,
)
from keyvault.core.errors import NotFound
from keyvault.inventory import keys
from keyvault.inventory.vendor_id_format import LONGEST
from keyvault.models import ApiKey
from rotation.consumers import holders
from rotation.engine import lifecycle, manual_keys, retirement, vendor_ids
from rotation.models import Reason, RotationPolicy
from rotation.scheduling import inheritance, policies
from rotation.scheduling.policies import Wish

_LONGEST_SECONDS, _MOST_HOLDERS = 3650 * 86400, 200
# A person's reasons; the schedule has its own.
_REASONS = [value for value in Reason.values if value != Reason.SCHEDULE]


class RotateFields(Fields):
    """Why to rotate, and how long old and new secret are to live side by side."""

    reason = serializers.ChoiceField(_REASONS, default=str(Reason.MANUAL))
    overlap_seconds = serializers.IntegerField(
        default=None, allow_null=True, min_value=0, max_value=_LONGEST_SECONDS
    )
    accept_outage = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=500,
        help_text="Why it may be: at a vendor that ends the old key as it makes the new one",
    )


class SecretFields(Fields):
    """A secret that a person made at the vendor."""

    secret = SecretField()
    as_it_is = AsItIsField()


class VendorIdFields(Fields):
    """An id as the vendor's list shows it; empty for none."""

    vendor_id = serializers.CharField(allow_blank=True, max_length=LONGEST)


def _optional(field: type[serializers.Field[Any, Any, Any, Any]], **options: Any) -> Any:
    return field(required=False, allow_null=True, default=None, **options)


class PolicyFields(Fields):
    """When to rotate; the clock time is that of `time_zone`. Null follows from the levels above."""

    every_days = _optional(serializers.IntegerField, min_value=1, max_value=3650)
    rule = _optional(serializers.CharField, max_length=200, help_text="An RRULE, or “first Monday”")
    at_time = _optional(serializers.TimeField)
    time_zone = _optional(serializers.CharField, max_length=60)
    overlap_seconds = _optional(serializers.IntegerField, min_value=0, max_value=_LONGEST_SECONDS)
    quiet_seconds = _optional(serializers.IntegerField, min_value=1, max_value=_LONGEST_SECONDS)
    enabled = _optional(serializers.BooleanField)
    window = _optional(serializers.CharField, allow_blank=True, max_length=60)
    missed = _optional(serializers.CharField, max_length=4, help_text="next or now")
    jitter_minutes = _optional(serializers.IntegerField, min_value=0, max_value=24 * 60)
    max_age_days = _optional(serializers.IntegerField, min_value=1, max_value=3650)
    standbys = _optional(serializers.IntegerField, min_value=0, max_value=5)


class KeyRotate(MemberView):
    """Start a rotation."""

    @extend_schema(request=RotateFields, responses={201: StartedSerializer, 200: StartedSerializer})
    def post(self, _request: Request, key_id: int) -> Response:
        """Start a rotation (201), or join the one that is open (200)."""
        key, fields = keys.get_key(self.by, key_id), self.body(RotateFields)
        fields["reason"] = Reason(fields["reason"])
        rotation, new = lifecycle.start(self.by, key, **fields)
        rotation = get_rotation(self.by, rotation.pk)  # times that the database set are known now
        rotation.joined = not new  # type: ignore[attr-defined]
        return Response(StartedSerializer(rotation).data, status=201 if new else 200)


class KeyHolders(MemberView):
    """Who holds a key."""

    @extend_schema(responses=HolderSerializer(many=True))
    def get(self, _request: Request, key_id: int) -> Response:
        """List who was given a version that is not dead, and the consumers on record; 200 at most."""
        found = holders.of_key(keys.get_key(self.by, key_id))[:_MOST_HOLDERS]
        return Response(HolderSerializer(found, many=True).data)


class RetireFields(Fields):
    """Why nobody needs the key any more."""

    reason = serializers.CharField(max_length=500)


class KeyRetire(MemberView):
    """End a key that nobody needs."""

    @extend_schema(request=RetireFields, responses={201: RotationSerializer})
    def post(self, _request: Request, key_id: int) -> Response:
        """Begin to retire it: told, proven unused, ended at the vendor, destroyed, archived."""
        key, fields = keys.get_key(self.by, key_id), self.body(RetireFields)
        self.prove()
        rotation = retirement.retire(self.by, key, fields["reason"])
        return Response(RotationSerializer(get_rotation(self.by, rotation.pk)).data, status=201)


class KeyVersions(MemberView):
    """Secrets made ahead of time."""

    @extend_schema(request=SecretFields, responses={201: AddedSerializer})
    def post(self, _request: Request, key_id: int) -> Response:
        """Keep a secret as standby for the next rotation; it is checked with the vendor first."""
        key, fields = keys.get_key(self.by, key_id), self.body(SecretFields)
        added = manual_keys.add_standby(self.by, key, fields["secret"], as_it_is=fields["as_it_is"])
        return Response(AddedSerializer(added).data, status=201)


class VendorId(MemberView):
    """The id of one version at the vendor."""

    @extend_schema(request=VendorIdFields, responses=VersionSerializer)
    def put(self, _request: Request, key_id: int, number: int) -> Response:
        """Correct the id, or take it away; it is proven before a key is ended by it."""
        key, fields = keys.get_key(self.by, key_id), self.body(VendorIdFields)
        changed = vendor_ids.correct(self.by, key, number, fields["vendor_id"])
        return Response(VersionSerializer(changed).data)


class KeyPolicy(MemberView):
    """When a key rotates by itself."""

    @extend_schema(responses=PolicySerializer)
    def get(self, _request: Request, key_id: int) -> Response:
        """Show the policy; 404 when there is none."""
        return Response(PolicySerializer(_policy(keys.get_key(self.by, key_id))).data)

    @extend_schema(request=PolicyFields, responses=PolicySerializer)
    def put(self, _request: Request, key_id: int) -> Response:
        """Set the policy."""
        key = keys.get_key(self.by, key_id)
        wish = Wish(**self.body(PolicyFields))
        return Response(PolicySerializer(policies.set_policy(self.by, key, wish)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, key_id: int) -> Response:
        """Switch the policy off: the key no longer rotates by itself."""
        key = keys.get_key(self.by, key_id)
        kept = inheritance.overrides_of(_policy(key))
        policies.set_policy(self.by, key, Wish(**{**kept, "enabled": False}))
        return Response(status=204)


def _policy(key: ApiKey) -> RotationPolicy:
    policy = RotationPolicy.objects.filter(key=key).first()
    if policy is None:
        raise NotFound("This key has no policy: it rotates only when someone starts it.")
    return policy
