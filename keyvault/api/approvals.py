"""Second persons: what waits for one, agreeing or refusing, and which acts need one."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access import approvals
from keyvault.access.permissions import Permission, may
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import ApprovalSerializer, RuleSerializer
from keyvault.core.errors import Denied
from keyvault.inventory import catalog
from keyvault.models import ApprovalRule
from keyvault.models.approvals import ApprovalAction


class ApprovalQuery(PageQuery):
    """Which requests to list."""

    open = serializers.BooleanField(required=False)


class DecideFields(Fields):
    """Agree, or refuse."""

    granted = serializers.BooleanField()


class RuleFields(Fields):
    """Which act needs a second person, and where; everywhere when no environment is named."""

    act = serializers.ChoiceField(ApprovalAction.choices)
    environment = IdField(required=False)


class ApprovalList(MemberView):
    """Requests that the asker made or may know of."""

    query_class = ApprovalQuery

    @listing(ApprovalQuery, ApprovalSerializer)
    def get(self, _request: Request) -> Response:
        """List requests, the newest first."""
        rows = approvals.visible_approvals(self.by)
        if "open" in self.filters:
            rows = rows.filter(granted__isnull=self.filters["open"])
        return self.page(rows, ApprovalSerializer)


class ApprovalDetail(MemberView):
    """One request."""

    @extend_schema(responses=ApprovalSerializer)
    def get(self, _request: Request, approval_id: int) -> Response:
        """Describe exactly what was asked for."""
        return Response(ApprovalSerializer(approvals.get_approval(self.by, approval_id)).data)


class ApprovalDecide(MemberView):
    """Agree or refuse."""

    @extend_schema(request=DecideFields, responses=ApprovalSerializer)
    def post(self, _request: Request, approval_id: int) -> Response:
        """Settle the request of another person; a fresh proof of who you are is required."""
        fields = self.body(DecideFields)
        approval = approvals.get_approval(self.by, approval_id)
        self.prove()
        approvals.decide(self.by, approval, granted=fields["granted"])
        return Response(ApprovalSerializer(approvals.get_approval(self.by, approval_id)).data)


class RuleList(MemberView):
    """Which acts need a second person."""

    query_class = PageQuery

    @listing(PageQuery, RuleSerializer)
    def get(self, _request: Request) -> Response:
        """List rules, the newest first; revealing a production secret needs one without a rule."""
        if not (may(self.by, Permission.MANAGE) or may(self.by, Permission.READ_AUDIT)):
            raise Denied("Only owners and auditors may read the rules.")
        return self.page(ApprovalRule.objects.select_related("environment"), RuleSerializer)

    @extend_schema(request=RuleFields, responses={201: RuleSerializer})
    def post(self, _request: Request) -> Response:
        """Ask a second person for an act from now on."""
        fields = self.body(RuleFields)
        place = fields.get("environment")
        environment = catalog.get_environment(self.by, place) if place else None
        rule = approvals.add_rule(self.by, fields["act"], environment)
        return Response(RuleSerializer(rule).data, status=201)


class RuleDetail(MemberView):
    """One rule."""

    @extend_schema(responses=RuleSerializer)
    def get(self, _request: Request, rule_id: int) -> Response:
        """Describe it."""
        return Response(RuleSerializer(approvals.get_rule(self.by, rule_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, rule_id: int) -> Response:
        """Take it back; a second owner is asked, where there is one."""
        rule = approvals.get_rule(self.by, rule_id)
        self.prove()
        approvals.remove_rule(self.by, rule)
        return Response(status=204)
