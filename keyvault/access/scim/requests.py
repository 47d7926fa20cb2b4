"""What a directory asks, as a person: understood exactly, or refused with nothing changed.

Directories name attributes by any case, with or without the schema's URN, nest them under it, write
booleans as texts and single values as lists; that is smoothed here, and scim2-models does the rest.
"""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from scim2_models import Context, Error, PatchOp, SCIMException, ScimPolicy

from keyvault.access.scim.resources import USER, Person
from keyvault.core.errors import BadInput

# What no request changes: RFC 7643 has them ignored where a whole person is described.
_OURS = {"id", "meta", "schemas", "groups"}
_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_SINGLE = {
    name.replace("_", "")
    for name in Person.model_fields
    if name not in {"schemas", "meta", "name", "emails", "phone_numbers", "addresses", "groups"}
}
_MANAGER, _DEEPEST = "manager", 20
# guard: what a directory says and is not known is refused
_POLICY = ScimPolicy(
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


def described(body: dict[str, Any]) -> Any:
    """Return the person that a whole description (POST, PUT) means; raises BadInput."""
    _refuse_doubles(body)
    fields = {name: one for name, one in _flat(body).items() if name.casefold() not in _OURS}
    fields = {name: _single(name, _without_nulls(one)) for name, one in fields.items()}
    return _read(lambda: Person.model_validate(fields, scim_policy=_POLICY))


def patched(body: dict[str, Any], person: Any) -> Any:
    """Return the person after all operations of a PATCH; raises BadInput for any that cannot be done."""
    _refuse_doubles(body)
    after = person.model_copy(deep=True)
    fields: dict[str, Any] = {name.casefold(): one for name, one in body.items()}
    said = fields.get("operations")
    if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
        raise BadInput(
            "A PATCH needs a list of Operations. Nothing was changed.", code="invalidSyntax"
        )
    asked = {"schemas": [_PATCH], "Operations": [_operation(one) for one in said]}
    _read(lambda: _apply(asked, after))
    return after


def _apply(asked: dict[str, Any], person: Any) -> None:
    operations = PatchOp[Person].model_validate(
        asked, scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=_POLICY
    )
    operations.patch(person, scim_policy=_POLICY)


def _read(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ValidationError as error:
        raise _refusal(_first(error)) from None
    except SCIMException as error:
        cause = error.__cause__
        known = _first(cause) if isinstance(cause, ValidationError) else error.to_error()
        raise _refusal(known) from None


def _first(error: ValidationError) -> Error:
    return Error.from_validation_error(error.errors(include_input=False, include_url=False)[0])


def _refusal(error: Error) -> BadInput:
    return BadInput(
        "{detail}. Nothing was changed.".format(detail=(error.detail or "")[:300].rstrip(".")),
        code=error.scim_type or "invalidValue",
    )


def _operation(said: dict[str, Any]) -> dict[str, Any]:
    """Return an operation with its members' names in small letters and its value smoothed."""
    one = {name.casefold(): value for name, value in said.items()}
    path = one.get("path")
    if path is None:
        one.pop("path", None)
    if isinstance(path, str) and "value" in one:
        one["value"] = _single(path, one["value"])
    elif isinstance(one.get("value"), dict):
        one["value"] = {name: _single(name, value) for name, value in _flat(one["value"]).items()}
    return one


def _single(name: str, value: Any) -> Any:
    """Return what a list of one holds where there is one value only, as some directories send it."""
    plain = name.strip().casefold().removeprefix(USER.casefold() + ":")
    # guard: single values sent as lists
    if plain in _SINGLE and isinstance(value, list) and len(value) == 1:
        value = value[0]
        if isinstance(value, dict):
            inner = {one.casefold(): held for one, held in value.items() if held is not None}
            value = inner["value"] if set(inner) == {"value"} else value
    if plain.endswith(":" + _MANAGER) and isinstance(value, str):
        return {"value": value}
    return value


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes with the URN of the core schema taken off, however they carry it."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if name.casefold() == USER.casefold() and isinstance(value, dict):
            inner = value
        # guard: attributes under the schema's URN
        elif name.casefold().startswith(USER.casefold() + ":"):
            inner = {name[len(USER) + 1 :]: value}
        else:
            inner = {name: value}
        if {one.casefold() for one in inner} & {one.casefold() for one in flat}:
            raise _double()
        flat.update(inner)
    return flat


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _refuse_doubles(value: Any, depth: int = 0) -> None:
    """Names ignore case (RFC 7643, 2.1): of two that differ in it nobody knows which counts."""
    if depth > _DEEPEST:
        raise BadInput("The body is nested too deeply. Nothing was changed.", code="invalidSyntax")
    if isinstance(value, dict):
        # guard: an attribute given twice in another case
        if len({name.casefold() for name in value}) < len(value):
            raise _double()
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        _refuse_doubles(one, depth + 1)


def _double() -> BadInput:
    return BadInput(
        "An attribute is given twice, in whatever case. Nothing was changed.",
        code="invalidSyntax",
    )
