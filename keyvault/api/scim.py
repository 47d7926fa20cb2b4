"""SCIM 2.0 for the company's directory (RFC 7644): the part by which people come and leave.

Opened by the bearer token SCIM_TOKEN alone; without that setting there is no such address. What is
not understood is an error in SCIM's own form, and then nothing was changed.
"""

import hmac
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError
from scim2_models import Context, ResponseParameters, SCIMException

from keyvault.access import rate_limits
from keyvault.access.scim import directory, filters, requests
from keyvault.access.scim.resources import MOST, Person, provider
from keyvault.audit.actors import anonymous_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action
from keyvault.core import json_bodies
from keyvault.core.errors import BadInput, Denied, KeyServiceError, NotFound, Unavailable
from keyvault.core.request_context import current
from keyvault.models import Member

_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_LARGEST = 10**6
_WRONG_TOKENS, _WINDOW = 20, 900
# What RFC 7644 (3.12) lets an error say beside its sentence.
_KINDS = {"invalidFilter", "invalidPath", "invalidSyntax", "invalidValue", "mutability", "noTarget"}
_KINDS_OF_CODES = {
    "name_used": "uniqueness",
    "bad_json": "invalidSyntax",
    "bad_field": "invalidValue",
    "odd_character": "invalidValue",
    "tooMany": "invalidValue",
}
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)

View = Callable[..., HttpResponse]


class _NotOffered(KeyServiceError):
    """A part of the protocol that there is not, or a method that a place does not answer to."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _scim(view: View) -> View:
    """Let the directory in by its token, and answer refusals in SCIM's own form."""

    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        if not settings.SCIM_TOKEN:
            raise Http404
        try:
            _require_token(request)
            return view(request, *args, **options)
        except KeyServiceError as error:
            return _refused(error)
        except DatabaseError:
            return _refused(Unavailable("The database is away. Nothing was changed; try again."))

    return answer


@_scim
def users(request: HttpRequest) -> HttpResponse:
    """List people, all or those of a filter; record one who comes by single sign-on."""
    _require_method(request, "GET", "POST")
    if request.method == "POST":
        return _one(request, directory.add(requests.described(json_bodies.read(request))), 201)
    text = request.GET.get("filter")
    found = directory.find(filters.where(text) if text is not None else None)
    start = max(1, _number(request, "startIndex", 1))
    size = max(0, min(MOST, _number(request, "count", 100)))
    rows = [_told(request, one) for one in found[start - 1 : start - 1 + size]]
    return _listed(rows, total=found.count(), start=start)


@_scim
def user(request: HttpRequest, member_id: int) -> HttpResponse:
    """Describe a person, change what is known of them, or deactivate them."""
    _require_method(request, "GET", "PUT", "PATCH", "DELETE")
    if request.method == "DELETE":
        directory.remove(member_id)
        return HttpResponse(status=204)
    if request.method == "GET":
        return _one(request, directory.get(member_id))
    directory.get(member_id)
    body = json_bodies.read(request)
    edit = _replaced if request.method == "PUT" else requests.patched
    return _one(request, directory.change(member_id, lambda before: edit(body, before)))


def _replaced(body: dict[str, Any], before: Any) -> Any:
    """Return the described person; whoever says nothing of “active” leaves it as it is."""
    after = requests.described(body)
    if after.active is None:
        after.active = before.active
    return after


@_scim
def service(request: HttpRequest) -> HttpResponse:
    """Say which parts of SCIM there are."""
    _require_method(request, "GET")
    return _json(_document("ServiceProviderConfig", provider().config))


@_scim
def other(request: HttpRequest, rest: str | None = None) -> HttpResponse:
    """Answer for all other addresses: the same with a slash at the end, and the small documents."""
    place, _slash, name = (rest or "").strip("/").partition("/")
    match place:
        case "Users" if not name:
            return users(request)
        case "Users" if name.isascii() and name.isdigit() and len(name) < 10:
            return user(request, int(name))
        case "ServiceProviderConfig" if not name:
            return service(request)
        case "Schemas" | "ResourceTypes":
            return _documents(request, place, name)
        case "Groups":
            return _groups(request, name)
        case "Me" | "Bulk" | ".search":
            raise _NotOffered("This part of SCIM is not offered here.", 501)
    raise NotFound("There is no such address.")


def _documents(request: HttpRequest, place: str, name: str) -> HttpResponse:
    _require_method(request, "GET")
    if "filter" in request.GET:
        raise Denied("These are few, and not searched by filters.")
    found = provider().schemas if place == "Schemas" else provider().resource_types
    told = [_document(f"{place}/{one.id}", one) for one in found]
    if not name:
        return _listed(told, total=len(told), start=1)
    for one in told:
        if str(one["id"]).casefold() == name.casefold():
            return _json(one)
    raise NotFound("There is no such document.")


def _groups(request: HttpRequest, name: str) -> HttpResponse:
    """Groups are kept by people here: to the directory there are none, and it makes none."""
    if request.method != "GET":
        raise _NotOffered("Groups are not taken from the directory. Nothing was changed.", 501)
    if name:
        raise NotFound("There is no such group.")
    return _listed([], total=0, start=1)


def _document(place: str, said: Any) -> dict[str, Any]:
    kind = place.partition("/")[0]
    meta = {
        "resourceType": {"Schemas": "Schema", "ResourceTypes": "ResourceType"}.get(kind, kind),
        "location": f"{settings.BASE_URL}/scim/v2/{place}",
    }
    return {**said.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE), "meta": meta}


def _require_token(request: HttpRequest) -> None:
    scheme, _space, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), settings.SCIM_TOKEN.encode())
    if right and scheme.lower() == "bearer":
        return
    tries = rate_limits.count_attempt("scim", rate_limits.network_of(current().source), _WINDOW)
    if tries <= _WRONG_TOKENS:
        record_now(
            Action.TOKEN_REFUSED, anonymous_actor(), outcome="denied", reason="directory token"
        )
    raise Denied("The directory's token is not right.", code="unauthorized")


def _require_method(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise _NotOffered("This place does not answer to this method.", 405)


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "").strip()
    if not text:
        return default
    if not _NUMBER.fullmatch(text):
        raise BadInput(f"“{name}” is a number.", code="invalidValue")
    return min(int(text), _LARGEST)


def _one(request: HttpRequest, member: Member, status: int = 200) -> HttpResponse:
    told = _told(request, member)
    answer = _json(told, status)
    answer["Location"] = f"{settings.BASE_URL}/scim/v2/Users/{member.pk}"
    return answer


def _told(request: HttpRequest, member: Member) -> dict[str, Any]:
    """Return a person in SCIM's form, with the attributes that were asked for."""
    person = directory.describe(member)
    person.id = str(member.pk)
    person.display_name = person.display_name or str(member)
    told: dict[str, Any] = person.model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=_wanted(request)
    )
    told["meta"] = {
        "resourceType": "User",
        "created": member.date_joined.isoformat(),
        "location": f"{settings.BASE_URL}/scim/v2/Users/{member.pk}",
    }
    return told


def _wanted(request: HttpRequest) -> Any:
    asked = {
        name: [one.strip() for one in request.GET[name].split(",") if one.strip()]
        for name in ("attributes", "excludedAttributes")
        if request.GET.get(name)
    }
    if not asked:
        return None
    try:
        return ResponseParameters[Person].model_validate(asked)
    except (ValidationError, SCIMException):
        raise BadInput(
            "“attributes” names what there is not, or both lists are given.", code="invalidPath"
        ) from None


def _listed(rows: list[dict[str, Any]], total: int, start: int) -> HttpResponse:
    return _json(
        {
            "schemas": [_LIST],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": len(rows),
            "Resources": rows,
        }
    )


def _refused(error: KeyServiceError) -> HttpResponse:
    status = 401 if error.code == "unauthorized" else error.status
    said = {"schemas": [_ERROR], "status": str(status), "detail": error.message}
    kind = _KINDS_OF_CODES.get(error.code, error.code if error.code in _KINDS else "")
    if status == 400 or error.code == "name_used":
        said["scimType"] = kind or "invalidValue"
    answer = _json(said, status)
    if status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    return answer


def _json(said: dict[str, Any], status: int = 200) -> HttpResponse:
    answer = JsonResponse(said, status=status, content_type="application/scim+json")
    answer["Cache-Control"] = "no-store"
    return answer
