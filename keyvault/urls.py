"""Where requests go: programs, sign-in, the directory, the console and the admin."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path, re_path

from keyvault.api import scim

handler400 = "keyvault.console.errors.bad_request"
handler403 = "keyvault.console.errors.denied"
handler404 = "keyvault.console.errors.not_found"
handler500 = "keyvault.console.errors.server_error"


def _one_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the admin's own sign-in page to ours, which records every try."""
    return redirect("/sign-in?" + request.GET.urlencode())


urlpatterns: list[URLPattern | URLResolver] = [
    # First, because programs ask most.
    path("api/", include("keyvault.api.urls")),
    path("", include("keyvault.console.sign_in_urls")),
    path("favicon.ico", lambda _: redirect(static("keyvault/favicon.svg"))),
    path("scim/v2/Users", scim.users),
    path("scim/v2/Users/<int:member_id>", scim.user),
    path("scim/v2/ServiceProviderConfig", scim.service),
    re_path(r"^scim/v2(?:/(?P<rest>.*))?$", scim.other),
    path("", include("keyvault.console.urls")),
    path("admin/login/", _one_sign_in),
    path("admin/", admin.site.urls),
]
