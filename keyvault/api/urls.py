"""Where API requests go; the rotation app's routes are wired by name, since it builds on this one."""

from django.urls import URLPattern, URLResolver, include, path, re_path

from keyvault.api import (
    approvals,
    audit,
    errors,
    keys,
    people,
    places,
    service_tokens,
    token_routes,
)
from keyvault.api.schema import SchemaView

v1: list[URLPattern | URLResolver] = [
    path("keys/<int:key_id>/secret", token_routes.secret),
    path(
        "applications/<int:application_id>/environments/<int:environment_id>/secrets",
        token_routes.secrets,
    ),
    path("keys/", keys.KeyList.as_view()),
    path("keys/<int:key_id>/", keys.KeyDetail.as_view()),
    path("keys/<int:key_id>/check", keys.KeyCheck.as_view()),
    path("keys/<int:key_id>/reveal", keys.KeyReveal.as_view()),
    path("applications/", places.ApplicationList.as_view()),
    path("applications/<int:application_id>/", places.ApplicationDetail.as_view()),
    path("environments/", places.EnvironmentList.as_view()),
    path("environments/<int:environment_id>/", places.EnvironmentDetail.as_view()),
    path("accounts/<int:account_id>/", places.AccountDetail.as_view()),
    path("tokens/", service_tokens.TokenList.as_view()),
    path("tokens/<int:token_id>/", service_tokens.TokenDetail.as_view()),
    path("tokens/<int:token_id>/renew", service_tokens.TokenRenew.as_view()),
    path("members/", people.MemberList.as_view()),
    path("members/<int:member_id>/", people.MemberDetail.as_view()),
    path("members/<int:member_id>/invite", people.MemberInvite.as_view()),
    path("members/<int:member_id>/sessions", people.MemberSessions.as_view()),
    path("grants/", people.GrantList.as_view()),
    path("grants/<int:grant_id>/", people.GrantDetail.as_view()),
    path("groups/", people.GroupList.as_view()),
    path("groups/<int:group_id>/", people.GroupDetail.as_view()),
    path("groups/<int:group_id>/members/", people.GroupMembers.as_view()),
    path("groups/<int:group_id>/members/<int:member_id>", people.GroupMember.as_view()),
    path("approvals/", approvals.ApprovalList.as_view()),
    path("approvals/<int:approval_id>/", approvals.ApprovalDetail.as_view()),
    path("approvals/<int:approval_id>/decide", approvals.ApprovalDecide.as_view()),
    path("approvals/rules/", approvals.RuleList.as_view()),
    path("approvals/rules/<int:rule_id>/", approvals.RuleDetail.as_view()),
    path("audit/", audit.AuditList.as_view()),
    path("", include("rotation.api.urls")),
]

urlpatterns = [
    path("schema/", SchemaView.as_view()),
    path("v1/", include(v1)),
    re_path(r"^(?P<rest>.*)$", errors.unknown_route),
]
