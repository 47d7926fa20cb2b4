"""Policies above the keys: what the installation, an account, environment or application says."""

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access.permissions import visible_applications
from keyvault.api.base import IdField, MemberView, PageQuery, listing
from keyvault.api.key_actions import PolicyFields
from keyvault.api.serializers.rotations import LevelSerializer
from keyvault.core.errors import BadInput
from keyvault.inventory import catalog
from keyvault.models import Member
from rotation.models import PolicyScope
from rotation.scheduling import inheritance
from rotation.scheduling.inheritance import Place
from rotation.scheduling.validation import Wish

_KINDS = ("account", "environment", "application")


class LevelFields(PolicyFields):
    """A level, by the one thing it belongs to (none: the installation), and what it says."""

    account = IdField(required=False, allow_null=True, default=None)
    environment = IdField(required=False, allow_null=True, default=None)
    application = IdField(required=False, allow_null=True, default=None)


class PolicyList(MemberView):
    """The levels that the asker may know of."""

    query_class = PageQuery

    @listing(PageQuery, LevelSerializer)
    def get(self, _request: Request) -> Response:
        """List what each level says, the newest first."""
        return self.page(_seen(self.by), LevelSerializer)

    @extend_schema(request=LevelFields, responses=LevelSerializer)
    def put(self, _request: Request) -> Response:
        """Say what counts for every key below a level; the keys are planned anew at once."""
        fields = self.body(LevelFields)
        places = {name: fields.pop(name) for name in _KINDS}
        saved = inheritance.set_scope(self.by, _place(self.by, places), Wish(**fields))
        return Response(LevelSerializer(saved).data)


def _place(by: Member, places: dict[str, int | None]) -> Place:
    named = {name: number for name, number in places.items() if number}
    if len(named) > 1:
        raise BadInput("A level belongs to one thing: name an account, or an environment, or ….")
    for kind, number in named.items():
        return inheritance.place_of(by, kind, number)
    return None


def _seen(by: Member) -> QuerySet[PolicyScope]:
    known = Q(environment__isnull=True) | Q(environment__in=catalog.visible_environments(by))
    known &= Q(application__isnull=True) | Q(application__in=visible_applications(by))
    known &= Q(account__isnull=True) | Q(account__in=catalog.visible_accounts(by))
    return PolicyScope.objects.filter(known).select_related("account", "environment", "application")
