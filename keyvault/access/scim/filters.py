"""Filters (RFC 7644, 3.4.2.2) as questions to the database: those that directories match people by."""

from functools import reduce
from operator import and_, or_

from django.db.models import Q
from scim2_models import SCIMException, ScimFilter
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
)

from keyvault.access.scim.resources import USER, Person
from keyvault.core.errors import BadInput

_LONGEST = 1000
_LARGEST_ID = 2**31 - 1


def where(text: str) -> Q:
    """Return the condition that a filter means; raises BadInput for one that is not answered here."""
    if len(text) > _LONGEST:
        raise _unknown()
    try:
        node = ScimFilter[Person](text).ast
    except (SCIMException, ValueError):
        raise _unknown() from None
    return _condition(node)


def _condition(node: FilterNode) -> Q:
    if isinstance(node, LogicalExpr):
        join = and_ if node.op == LogicalOperator.and_ else or_
        return reduce(join, (_condition(one) for one in node.terms))
    if isinstance(node, Comparison) and node.op == CompareOperator.eq:
        return _equal(node.attr_path, node.value)
    raise _unknown()


def _equal(path: AttrPath, value: object) -> Q:
    name = path.attr.casefold() + (f".{path.sub_attr.casefold()}" if path.sub_attr else "")
    if path.uri and path.uri.casefold() != USER.casefold():
        raise _unknown()
    if name == "active" and isinstance(value, bool):
        return Q(is_active=value)
    if not isinstance(value, str) or "\0" in value:
        raise _unknown()
    if name == "username":
        return Q(username=value.strip().lower())
    if name == "externalid":
        return Q(directory__external_id=value) if value else Q(pk=None)
    if name == "id":
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 11 else 0
        return Q(pk=number if number <= _LARGEST_ID else 0)
    if name in ("emails", "emails.value"):
        address = value.strip().lower()
        return Q(email=address) | Q(directory__addresses__contains=[address])
    raise _unknown()


def _unknown() -> BadInput:
    return BadInput(
        (
            'Only comparisons such as userName eq "a@example.com" are known, of userName, externalId, '
            "id, emails and active, joined by “and” or “or”."
        ),
        code="invalidFilter",
    )
