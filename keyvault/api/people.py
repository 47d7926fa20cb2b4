"""People, groups and roles: who there is, and who may do what until when."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keyvault.access import groups, invitations, members, roles
from keyvault.access.permissions import Permission, may
from keyvault.access.roles import Holder
from keyvault.api.base import Fields, IdField, MemberView, PageQuery, listing
from keyvault.api.serializers.inventory import (
    GrantSerializer,
    GroupSerializer,
    InvitedSerializer,
    LinkSerializer,
    MemberDetailSerializer,
    MemberSerializer,
)
from keyvault.core.errors import BadInput
from keyvault.inventory import catalog
from keyvault.models import Group, Member, Role


class InviteFields(Fields):
    """A person to invite."""

    email = serializers.CharField(max_length=254)
    name = serializers.CharField(max_length=100, default="", allow_blank=True)


class GrantFields(Fields):
    """A role for a member or a group; what is left out stands for all of it."""

    member = IdField(required=False)
    group = IdField(required=False)
    role = serializers.ChoiceField(Role.choices)
    application = IdField(required=False)
    environment = IdField(required=False)
    expires_at = serializers.DateTimeField(default=None, allow_null=True)


class GrantQuery(PageQuery):
    """Narrow a list to a member or a group."""

    member = IdField(required=False)
    group = IdField(required=False)


class NameFields(Fields):
    """What something is called."""

    name = serializers.CharField(max_length=100)


class WhoFields(Fields):
    """Which member."""

    member = IdField()


class MemberList(MemberView):
    """The people that the asker may know of."""

    query_class = PageQuery

    @listing(PageQuery, MemberSerializer)
    def get(self, _request: Request) -> Response:
        """List people, the newest first."""
        return self.page(members.visible_members(self.by), MemberSerializer)

    @extend_schema(request=InviteFields, responses={201: InvitedSerializer})
    def post(self, _request: Request) -> Response:
        """Invite a person; the link that lets them in is shown this once."""
        fields = self.body(InviteFields)
        self.prove()
        member, link = invitations.invite(self.by, fields["email"], name=fields["name"])
        told = {"member": member, "link": link.reveal()}
        return Response(InvitedSerializer(told).data, status=201)


class MemberDetail(MemberView):
    """One person."""

    @extend_schema(responses=MemberDetailSerializer)
    def get(self, _request: Request, member_id: int) -> Response:
        """Describe the person: groups, and the roles that the asker may know of."""
        member = members.get_member(self.by, member_id)
        known = roles.visible_grants(self.by).filter(member=member)
        told = {"member": member, "groups": members.groups_of(member), "grants": known}
        return Response(MemberDetailSerializer(told).data)


class MemberInvite(MemberView):
    """Let a person start afresh."""

    @extend_schema(request=Fields, responses={201: LinkSerializer})
    def post(self, _request: Request, member_id: int) -> Response:
        """Set back how the person signs in; the new link is shown this once."""
        self.body(Fields)
        self.prove()
        link = invitations.invite_again(self.by, members.get_member(self.by, member_id))
        return Response({"link": link.reveal()}, status=201)


class MemberSessions(MemberView):
    """A person's sessions."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, member_id: int) -> Response:
        """End all of them."""
        members.end_sessions(self.by, members.get_member(self.by, member_id))
        return Response(status=204)


class GrantList(MemberView):
    """The roles that the asker may know of."""

    query_class = GrantQuery

    @listing(GrantQuery, GrantSerializer)
    def get(self, _request: Request) -> Response:
        """List roles, the newest first."""
        named = {name: self.filters[name] for name in ("member", "group") if name in self.filters}
        rows = roles.visible_grants(self.by).filter(**named)
        shown = rows.select_related("member", "group", "application", "environment")
        return self.page(shown, GrantSerializer)

    @extend_schema(request=GrantFields, responses={201: GrantSerializer})
    def post(self, _request: Request) -> Response:
        """Give a role."""
        fields = self.body(GrantFields)
        self.prove()
        holder = _holder(self.by, fields)
        made = roles.assign_role(self.by, holder, fields["role"], **_scope(self.by, fields))
        return Response(GrantSerializer(made).data, status=201)


class GrantDetail(MemberView):
    """One role of one holder."""

    @extend_schema(responses=GrantSerializer)
    def get(self, _request: Request, grant_id: int) -> Response:
        """Describe it."""
        return Response(GrantSerializer(roles.get_grant(self.by, grant_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, grant_id: int) -> Response:
        """Take it back; it ends with the next request."""
        grant = roles.get_grant(self.by, grant_id)
        self.prove()
        roles.revoke_role(self.by, grant)
        return Response(status=204)


class GroupList(MemberView):
    """The groups, for who may manage or audit them."""

    query_class = PageQuery

    @listing(PageQuery, GroupSerializer)
    def get(self, _request: Request) -> Response:
        """List groups, the newest first."""
        seen = may(self.by, Permission.MANAGE) or may(self.by, Permission.READ_AUDIT)
        rows = Group.objects.all() if seen else members.groups_of(self.by)
        return self.page(rows.prefetch_related("members"), GroupSerializer)

    @extend_schema(request=NameFields, responses={201: GroupSerializer})
    def post(self, _request: Request) -> Response:
        """Add a group."""
        made = groups.add_group(self.by, self.body(NameFields)["name"])
        return Response(GroupSerializer(made).data, status=201)


class GroupDetail(MemberView):
    """One group."""

    @extend_schema(responses=GroupSerializer)
    def get(self, _request: Request, group_id: int) -> Response:
        """Describe the group and who is in it."""
        return Response(GroupSerializer(groups.get_group(self.by, group_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, group_id: int) -> Response:
        """Remove the group with its roles."""
        group = groups.get_group(self.by, group_id)
        self.prove()
        groups.delete_group(self.by, group)
        return Response(status=204)


class GroupMembers(MemberView):
    """Who is in a group."""

    @extend_schema(request=WhoFields, responses={201: GroupSerializer})
    def post(self, _request: Request, group_id: int) -> Response:
        """Put a member in."""
        member = members.get_member(self.by, self.body(WhoFields)["member"])
        group = groups.get_group(self.by, group_id)
        self.prove()
        groups.add_to_group(self.by, group, member)
        return Response(GroupSerializer(group).data, status=201)


class GroupMember(MemberView):
    """One member of a group."""

    @extend_schema(responses={204: None})
    def delete(self, _request: Request, group_id: int, member_id: int) -> Response:
        """Take the member out; its roles end with the next request."""
        group = groups.get_group(self.by, group_id)
        self.prove()
        groups.remove_from_group(self.by, group, members.get_member(self.by, member_id))
        return Response(status=204)


def _holder(by: Member, fields: dict[str, Any]) -> Holder:
    if ("member" in fields) == ("group" in fields):
        raise BadInput("A role is for a member or for a group: name one of them.")
    if "member" in fields:
        return members.get_member(by, fields["member"])
    return groups.get_group(by, fields["group"])


def _scope(by: Member, fields: dict[str, Any]) -> dict[str, Any]:
    scope: dict[str, Any] = {"expires_at": fields["expires_at"]}
    if "application" in fields:
        scope["application"] = catalog.get_application(by, fields["application"])
    if "environment" in fields:
        scope["environment"] = catalog.get_environment(by, fields["environment"])
    return scope
