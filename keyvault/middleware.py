"""Give every request an id and let audit rows know it and where it came from."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from keyvault.audit.context import acting


class RequestContextMiddleware:
    """Names each request; the id goes into audit rows and the `X-Request-Id` answer header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request within its audit context."""
        request_id = uuid.uuid4().hex
        # Never X-Forwarded-For as it comes: anyone can write that header.
        source = request.META.get("REMOTE_ADDR", "")
        with acting(request_id, source):
            response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response
