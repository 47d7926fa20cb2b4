"""`field__any=values`: like `in`, with all values in one parameter, however many there are.

A statement that is planned once carries 65,535 parameters at most, and one of `in` is another
statement, to be planned anew, for each number of values.
"""

from typing import Any

from django.db.models import Field
from django.db.models.lookups import In


class AnyOf(In):
    """Match what is one of the values; each is prepared as the field prepares it."""

    lookup_name = "any"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison; its last parameter is the whole list."""
        lhs, params = self.process_lhs(compiler, connection)
        field: Any = self.lhs.output_field
        # Without a length: a cast to varchar(3) would cut a value and find what nobody asked for.
        kind = field.rel_db_type(connection).partition("(")[0]
        values = [field.get_db_prep_value(value, connection, prepared=True) for value in self.rhs]
        return f"{lhs} = ANY(%s::{kind}[])", (*params, values)


def register() -> None:
    """Make the lookup known to every field."""
    Field.register_lookup(AnyOf)
