"""The audit log, for those who may read it; that they did is a row of its own."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import Permission, may
from keyvault.api.base import IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import AuditSerializer
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent
from keyvault.core.errors import Denied
from keyvault.models import Member

_SAME = {"action": "action", "outcome": "outcome", "key": "key_id", "actor_kind": "actor_kind"}


class AuditQuery(PageQuery):
    """Which rows to read; `since` and `until` are moments, `key` and `actor` are ids."""

    action = serializers.ChoiceField(Action.choices, required=False)
    outcome = serializers.ChoiceField(["ok", "denied"], required=False)
    key = IdField(required=False)
    actor_kind = serializers.ChoiceField(["member", "token", "system"], required=False)
    actor = IdField(required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class AuditList(MemberView):
    """The audit log."""

    query_class = AuditQuery

    @listing(AuditQuery, AuditSerializer)
    def get(self, _request: Request) -> Response:
        """Read rows, the newest first; reading is recorded, with what was asked for."""
        _require_reader(self.by, self.filters)
        return self.page(_narrowed(self.filters), AuditSerializer, order="seq")


def _require_reader(by: Member, filters: dict[str, Any]) -> None:
    """Record the reading, or the attempt, before a row is shown."""
    allowed = may(by, Permission.READ_AUDIT)
    asked = [f"{name}={value}" for name, value in filters.items()]
    outcome = "ok" if allowed else "denied"
    record_now(Action.AUDIT_READ, member_actor(by), outcome=outcome, asked=asked)
    if not allowed:
        raise Denied("Only owners and auditors of the installation may read the audit log.")


def _narrowed(filters: dict[str, Any]) -> QuerySet[AuditEvent]:
    wanted = {column: filters[name] for name, column in _SAME.items() if name in filters}
    if "actor" in filters:
        wanted["actor_id"] = str(filters["actor"])
    if "since" in filters:
        wanted["at__gte"] = filters["since"]
    if "until" in filters:
        wanted["at__lt"] = filters["until"]
    return AuditEvent.objects.filter(**wanted)
