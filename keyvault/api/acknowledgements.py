"""The consumer's half of a rotation: ask for a nonce, then prove possession of the new secret."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from keyvault.core import json_bodies
from keyvault.core.errors import BadInput
from keyvault.delivery.views import instance, token_route
from rotation.consumers import registry

_NAMES = ("version", "nonce", "proof")
_LONGEST = 500
_LARGEST_VERSION = 2**31 - 1


@token_route(
    GET={
        "summary": "Ask for a nonce",
        "description": "It is good for five minutes, for this token and key.",
        "answer": {"nonce": "string", "version": "integer"},
    },
    POST={
        "summary": "Prove that this copy of a program holds the current secret",
        "description": "The proof is the hexadecimal HMAC-SHA-256, keyed with the secret, of "
        "keyvault-ack:v1:<nonce>:<key id>:<version>. It speaks for the copy that the header names, "
        "as in its fetches, and for no other. Repeating it changes nothing.",
        "body": {"version": "integer", "nonce": "string", "proof": "string"},
        "answer": {"consumer": "string", "version": "integer"},
    },
)
def acknowledge(request: HttpRequest, token: str, key_id: int) -> HttpResponse:
    """Give a nonce (GET), or take an acknowledgement with its proof (POST)."""
    if request.method == "GET":
        nonce, version = registry.nonce(token, key_id)
        return JsonResponse({"nonce": nonce, "version": version})
    told = _told(json_bodies.read(request))
    name = registry.acknowledge(token, key_id, **told, instance=instance(request))
    return JsonResponse({"consumer": name, "version": told["version"]})


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    wrong = sorted({json_bodies.shown(name) for name in set(fields) ^ set(_NAMES)})
    if not wrong:
        wrong = [name for name in _NAMES if not _fits(name, fields[name])]
    if wrong:
        raise BadInput(
            (
                "Check {wrong}: send a whole number “version” and texts “nonce” and “proof” "
                "and nothing else."
            ).format(wrong=", ".join(wrong)),
            code="invalid",
            details={"fields": wrong},
        )
    return fields


def _fits(name: str, value: Any) -> bool:
    if name == "version":
        return type(value) is int and 0 < value <= _LARGEST_VERSION
    return isinstance(value, str) and 0 < len(value) <= _LONGEST
