"""Pages for what went wrong: what happened, what was not lost, what to do."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from keyvault.core.errors import KeyServiceError

_SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_TITLES = {
    400: "That cannot be used",
    403: "Not for your role",
    404: "Nothing here",
    409: "Not now",
    503: "A part is away",
}


def problem(request: HttpRequest, error: KeyServiceError) -> HttpResponse:
    """Answer with a door's own words."""
    return _page(
        request, _TITLES.get(error.status, "That did not work"), error.message, error.status
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer a form whose token is missing or old."""
    return _page(
        request,
        "The form was too old",
        "Nothing was changed. Open the page again and repeat what you did.",
        403,
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Answer a request that cannot be read."""
    return _page(
        request,
        "That request could not be read",
        "Nothing was changed. It was too large or damaged; go back and try again with less.",
        400,
    )


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Answer a request that this person may not make."""
    return _page(
        request,
        "Not for your role",
        "Nothing was changed. Ask an owner for the role that you need.",
        403,
    )


def wrong_method(request: HttpRequest) -> HttpResponse:
    """Answer a method that a page's address does not know."""
    return _page(
        request,
        "Not in this way",
        "Nothing was changed. This address does not take such a request; open its page and use the "
        "form there.",
        405,
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Answer for an unknown address and for things of others alike."""
    return _page(
        request,
        "Nothing here",
        "There is no such page, or it is not yours to see. Search for the key by its name or by "
        "its last four characters.",
        404,
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure of ours without touching session or database, which may be what failed."""
    if request.path.startswith("/scim/"):
        detail = "Something failed here. Try again later."
        said = {"schemas": [_SCIM_ERROR], "status": "500", "detail": detail}
        return JsonResponse(said, status=500, content_type="application/scim+json")
    return HttpResponse(render_to_string("console/errors/failure.html"), status=500)


def _page(request: HttpRequest, title: str, message: str, status: int) -> HttpResponse:
    facts = {"title": title, "message": message, "status": status}
    return render(request, "console/errors/error.html", facts, status=status)
