"""Pages for what went wrong: what happened, what was not lost, what to do."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer a form whose token is missing or old."""
    return render(
        request,
        "keyvault/error.html",
        {
            "title": "The form was too old",
            "message": ("Nothing was changed. Open the page again and repeat what you did."),
        },
        status=403,
    )
