"""Pages of rows in an order that people choose, each going on from the last row of the one before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import F, Model, Q, QuerySet
from django.utils.translation import gettext as _

from keyvault.errors import NotFound

Row = TypeVar("Row", bound=Model)
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Order:
    """One way to order rows: by a column whose values may be missing (then last), and the id."""

    field: str
    moment: bool = False

    def page(self, rows: QuerySet[Row], after: str, size: int) -> tuple[list[Row], str]:
        """Return one page after the mark, and the mark to go on from; "" when this is the last."""
        if after:
            rows = rows.filter(self._beyond(after))
        ordered = rows.order_by(F(self.field).asc(nulls_last=True), "pk")
        # Numbers first: sorting whole rows with all that is joined to them costs many times more.
        numbers = list(ordered.values_list("pk", flat=True)[: size + 1])
        by_number = {row.pk: row for row in rows.filter(pk__in=numbers[:size])}
        found = [by_number[one] for one in numbers[:size] if one in by_number]
        more = len(numbers) > size and found
        return found, self._mark(found[-1]) if more else ""

    def _beyond(self, after: str) -> Q:
        text, _sign, number = after.rpartition("~")
        if not (number.isascii() and number.isdigit() and int(number) <= _LARGEST_ID):
            raise NotFound(_("The address goes on from a place that is none."))
        if text == "~":
            return Q(**{f"{self.field}__isnull": True, "pk__gt": int(number)})
        value = self._value(text)
        same = Q(**{self.field: value, "pk__gt": int(number)})
        return Q(**{f"{self.field}__gt": value}) | same | Q(**{f"{self.field}__isnull": True})

    def _value(self, text: str) -> Any:
        if not self.moment:
            return text.replace("\x00", "")
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise NotFound(_("The address goes on from a time that is none."))
        return at

    def _mark(self, row: Model) -> str:
        value: Any = row
        for name in self.field.split("__"):
            value = getattr(value, name, None)
        text = "~" if value is None else value.isoformat() if self.moment else str(value)
        return f"{text}~{row.pk}"
