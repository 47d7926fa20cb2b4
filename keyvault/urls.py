"""Where requests go. Pages that join keys with their rotations stand in rotation/urls.py."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path, re_path

from keyvault.views import approvals, audit, importing, once, register, scim

handler400 = "keyvault.views.errors.bad_request"
handler403 = "keyvault.views.errors.denied"
handler404 = "keyvault.views.errors.not_found"
handler500 = "keyvault.views.errors.server_error"


def _one_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the admin's own sign-in page to ours, which records every try."""
    return redirect("/sign-in?" + request.GET.urlencode())


urlpatterns: list[URLPattern | URLResolver] = [
    # First, because programs ask most.
    path("api/", include("keyvault.api.urls")),
    path("", include("keyvault.account_urls")),
    path("favicon.ico", lambda _: redirect(static("keyvault/favicon.svg"))),
    path("keys/new/", register.new, name="key-new"),
    path("keys/import/", importing.many, name="keys-import"),
    path("approvals/", approvals.listing, name="approvals"),
    path("approvals/<int:approval_id>/decide", approvals.decide, name="approval-decide"),
    path("approvals/rules", approvals.add_rule, name="approval-rule-add"),
    path(
        "approvals/rules/<int:rule_id>/remove", approvals.remove_rule, name="approval-rule-remove"
    ),
    path("shown/<slug:name>/", once.shown, name="shown"),
    path("audit/", audit.listing, name="audit"),
    path("audit/export", audit.export, name="audit-export"),
    path("scim/v2/Users", scim.users),
    path("scim/v2/Users/<int:member_id>", scim.user),
    path("scim/v2/ServiceProviderConfig", scim.service),
    re_path(r"^scim/v2(?:/(?P<rest>.*))?$", scim.other),
    path("", include("rotation.urls")),
    path("admin/login/", _one_sign_in),
    path("admin/", admin.site.urls),
]
