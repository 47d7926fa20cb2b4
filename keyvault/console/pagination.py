"""Pages of rows in an order that people choose, each going on from the last row of the one before."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from keyvault.core.errors import NotFound
from keyvault.core.numbers import whole

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Order:
    """One way to order rows: by a column whose values may be missing (then last), and the id."""

    field: str
    moment: bool = False
    nullable: bool = True
    # True of every row that has a value; names the partial index that is in this order.
    among: Q = dataclasses.field(default_factory=Q)

    def page(self, rows: QuerySet[Row], after: str, size: int) -> tuple[list[Row], str]:
        """Return one page after the mark, and the mark to go on from; "" when this is the last."""
        numbers = self._numbers(rows, after, size + 1)
        by_number = {row.pk: row for row in rows.filter(pk__in=numbers[:size])}
        found = [by_number[one] for one in numbers[:size] if one in by_number]
        more = len(numbers) > size and found
        return found, self._mark(found[-1]) if more else ""

    def _numbers(self, rows: QuerySet[Row], after: str, most: int) -> list[int]:
        """Return the numbers of the next rows: those with a value, then the others.

        Numbers first, because sorting whole rows with all that is joined to them costs many times
        more; in two parts, because only rows with a value lie in an index in this order.
        """
        text, number = self._place(after)
        found: list[int] = []
        if text != "~":
            valued = rows.filter(self.among, **{f"{self.field}__isnull": False})
            if after:
                value = self._value(text)
                later = Q(**{f"{self.field}__gt": value}) | Q(pk__gt=number)
                valued = valued.filter(later, **{f"{self.field}__gte": value})
            found = list(valued.order_by(self.field, "pk").values_list("pk", flat=True)[:most])
        if self.nullable and len(found) < most:
            bare = rows.filter(**{f"{self.field}__isnull": True})
            if text == "~":
                bare = bare.filter(pk__gt=number)
            left = bare.order_by("pk").values_list("pk", flat=True)
            found += left[: most - len(found)]
        return found

    def _place(self, after: str) -> tuple[str, int]:
        if not after:
            return "", 0
        text, _sign, number = after.rpartition("~")
        found = whole(number)
        if found is None:
            raise NotFound("Invalid page cursor.")
        return text, found

    def _value(self, text: str) -> Any:
        if not self.moment:
            return text.replace("\x00", "")
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise NotFound("The address goes on from a time that is none.")
        return at

    def _mark(self, row: Model) -> str:
        value: Any = row
        for name in self.field.split("__"):
            value = getattr(value, name, None)
        text = "~" if value is None else value.isoformat() if self.moment else str(value)
        return f"{text}~{row.pk}"


PAGE_SIZE = 50


def newest_first(
    rows: QuerySet[Row], after: int | None, size: int = PAGE_SIZE
) -> tuple[list[Row], int | None]:
    """Return one page of rows below the id `after`, and the id to go on from, if there are more."""
    if after is not None:
        rows = rows.filter(pk__lt=after)
    found = list(rows.order_by("-pk")[: size + 1])
    more = len(found) > size
    return found[:size], found[size - 1].pk if more else None


def next_link(request: HttpRequest, after: int | str | None) -> str:
    """Return the query of the next page with the same filters, empty when this is the last."""
    if after is None:
        return ""
    query = request.GET.copy()
    query["after"] = str(after)
    return "?" + query.urlencode()
