"""The OpenAPI description: our member views as the framework finds them, and the token routes."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView

from keyvault.api.base import METHODS, JsonOnly, SignedIn
from keyvault.delivery.instances import HEADER, PATTERN

_PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
_SCHEME = {"serviceToken": {"type": "http", "scheme": "bearer"}}
_INSTANCE = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Which copy of a program asks: an id of its own, such as a random one made at its "
    "start, the same in fetches and acknowledgements. Without it the caller's address tells copies "
    "apart. An odd one is refused with 400.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": f"^{PATTERN}$"},
}
_ERROR = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {"type": "object"},
    },
}


class SchemaView(SpectacularAPIView):
    """The OpenAPI description, for members."""

    authentication_classes = [SignedIn]
    renderer_classes = [OpenApiJsonRenderer]
    content_negotiation_class = JsonOnly
    http_method_names = METHODS
    custom_settings = {"POSTPROCESSING_HOOKS": ["keyvault.api.schema.complete"]}


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the plain token routes and the shape of errors to what was generated."""
    components = result.setdefault("components", {})
    components.setdefault("securitySchemes", {}).update(_SCHEME)
    components.setdefault("schemas", {})["Error"] = _ERROR
    for path, methods in _token_routes():
        result["paths"][path] = {
            method.lower(): _operation(method, path, told) for method, told in methods.items()
        }
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"]["default"] = _json(
                "Error", {"$ref": "#/components/schemas/Error"}
            )
    return result


def _token_routes() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, pattern in _walk("/", get_resolver().url_patterns):
        methods = getattr(pattern.callback, "openapi", None)
        if methods:
            yield _PARAMETER.sub(lambda match: "{" + match["name"] + "}", path), methods


def _walk(prefix: str, patterns: list[Any]) -> Iterator[tuple[str, URLPattern]]:
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from _walk(prefix + str(one.pattern), one.url_patterns)
        elif isinstance(one, URLPattern):
            yield prefix + str(one.pattern), one


def _operation(method: str, path: str, told: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_{path.rsplit('/', 1)[-1]}",
        "summary": told["summary"],
        "description": told["description"],
        "security": [{"serviceToken": []}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "integer"}}
            for name in names
        ]
        + [_INSTANCE],
        "responses": {"200": _json("The answer.", _object(told["answer"]))},
    }
    if "body" in told:
        operation["requestBody"] = _json("", _object(told["body"]))
    return operation


def _object(fields: dict[str, str]) -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": kind} for name, kind in fields.items()}
    for one in properties.values():
        if one["type"] == "array":
            one["items"] = {"type": "object"}
    return {"type": "object", "required": list(fields), "properties": properties}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
