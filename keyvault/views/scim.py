"""SCIM 2.0 for the company's directory (RFC 7644): the part by which people come and leave.

Opened by the bearer token SCIM_TOKEN alone; without that setting there is no such address.
"""

import hmac
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from keyvault import directory, limits
from keyvault.api import bodies
from keyvault.audit.context import current
from keyvault.audit.log import record_now
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Denied, KeyServiceError
from keyvault.models import Member
from keyvault.tokens import anonymous_actor

_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_FILTER = re.compile(
    r'\s*(?:userName|emails(?:\.value)?)\s+eq\s+"([^"\\]{1,254})"\s*', re.IGNORECASE
)
_MOST, _LARGEST = 200, 10**6
_WRONG_TOKENS, _WINDOW = 20, 900
_TRUE, _FALSE = (True, "true", "True"), (False, "false", "False")

View = Callable[..., HttpResponse]


def _scim(*methods: str) -> Callable[[View], View]:
    """Let the directory in by its token, and answer refusals in SCIM's own form."""

    def wrap(view: View) -> View:
        @csrf_exempt
        @require_http_methods(methods)
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
            if not settings.SCIM_TOKEN:
                raise Http404
            try:
                _require_token(request)
                return view(request, *args, **options)
            except KeyServiceError as error:
                return _refused(error)

        return answer

    return wrap


@_scim("GET", "POST")
def users(request: HttpRequest) -> HttpResponse:
    """List people, all or the one of an address; record one who comes by single sign-on."""
    if request.method == "POST":
        said = bodies.read(request)
        member = directory.add(_text(said, "userName"), _name(said))
        if said.get("active", True) in _FALSE:
            directory.set_active(member, False)
        return _json(_told(member), 201)
    found = directory.find(_filter(request))
    start = max(1, _number(request, "startIndex", 1))
    size = min(_MOST, _number(request, "count", 100))
    rows = [_told(one) for one in found[start - 1 : start - 1 + size]]
    return _json(
        {
            "schemas": [_LIST],
            "totalResults": found.count(),
            "startIndex": start,
            "itemsPerPage": len(rows),
            "Resources": rows,
        }
    )


@_scim("GET", "PUT", "PATCH", "DELETE")
def user(request: HttpRequest, member_id: int) -> HttpResponse:
    """Describe a person, or deactivate them; names and addresses are not changed from outside."""
    member = directory.get(member_id)
    if request.method == "DELETE":
        directory.set_active(member, False)
        return HttpResponse(status=204)
    if request.method != "GET":
        said = bodies.read(request)
        active = _patched(said) if request.method == "PATCH" else said.get("active", True)
        if active is not None:
            directory.set_active(member, _flag(active))
    return _json(_told(member))


@_scim("GET")
def service(_request: HttpRequest) -> HttpResponse:
    """Say which parts of SCIM there are."""
    off = {"supported": False}
    said: dict[str, Any] = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": True},
        "filter": {"supported": True, "maxResults": _MOST},
        "bulk": {**off, "maxOperations": 0, "maxPayloadSize": 0},
        "changePassword": off,
        "sort": off,
        "etag": off,
        "authenticationSchemes": [
            {"type": "oauthbearertoken", "name": "Bearer token", "description": "SCIM_TOKEN"}
        ],
    }
    return _json(said)


def _require_token(request: HttpRequest) -> None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), settings.SCIM_TOKEN.encode()):
        return
    tries = limits.count("scim", limits.network_of(current().source), _WINDOW)
    if tries <= _WRONG_TOKENS:
        record_now(
            Action.TOKEN_REFUSED, anonymous_actor(), outcome="denied", reason="directory token"
        )
    raise Denied(_("The directory's token is not right."), code="unauthorized")


def _patched(said: dict[str, Any]) -> Any:
    """Return the value that the operations give to `active`; None when they do not touch it."""
    operations = said.get("Operations")
    if not isinstance(operations, list):
        raise BadInput(_("A PATCH needs a list of Operations. Nothing was changed."))
    active = None
    for one in operations:
        if not isinstance(one, dict) or str(one.get("op", "")).lower() not in ("replace", "add"):
            continue
        value, path = one.get("value"), str(one.get("path", "")).lower()
        if path == "active":
            active = value
        elif not path and isinstance(value, dict) and "active" in value:
            active = value["active"]
    return active


def _flag(value: Any) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadInput(_("“active” must be true or false. Nothing was changed."))


def _filter(request: HttpRequest) -> str | None:
    text = request.GET.get("filter")
    if text is None:
        return None
    match = _FILTER.fullmatch(text)
    if not match:
        raise BadInput(_('Only filters such as userName eq "a@example.com" are known.'))
    return match[1]


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return (
        min(int(text), _LARGEST)
        if text.isascii() and text.isdigit() and len(text) < 10
        else default
    )


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(_("“{name}” is missing. Nothing was stored.").format(name=name))
    return value


def _name(said: dict[str, Any]) -> str:
    shown = said.get("displayName")
    if isinstance(shown, str) and shown.strip():
        return shown[:150]
    parts = said.get("name") if isinstance(said.get("name"), dict) else {}
    assert isinstance(parts, dict)
    return " ".join(str(parts.get(one, "")) for one in ("givenName", "familyName")).strip()[:150]


def _told(member: Member) -> dict[str, Any]:
    return {
        "schemas": [_USER],
        "id": str(member.pk),
        "userName": member.email,
        "displayName": str(member),
        "emails": [{"value": member.email, "primary": True}],
        "active": member.is_active,
        "meta": {
            "resourceType": "User",
            "location": f"{settings.BASE_URL}/scim/v2/Users/{member.pk}",
        },
    }


def _refused(error: KeyServiceError) -> HttpResponse:
    status = 401 if error.code == "unauthorized" else error.status
    said = {"schemas": [_ERROR], "status": str(status), "detail": error.message}
    if error.code == "name_used":
        said["scimType"] = "uniqueness"
    return _json(said, status)


def _json(said: dict[str, Any], status: int = 200) -> HttpResponse:
    answer = JsonResponse(said, status=status, content_type="application/scim+json")
    answer["Cache-Control"] = "no-store"
    return answer
