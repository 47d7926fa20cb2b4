"""What a name may be, wherever one is stored."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from keyvault.core.errors import BadInput

# Names end up in logs, mails and exports: no control or invisible formatting characters.
plain_name = RegexValidator(
    r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$",
    "Use visible characters only: this contains a control or invisible character.",
    code="odd_character",
)


def require_clean(row: models.Model, *, exclude: Sequence[str] = ()) -> None:
    """Check the fields of a row that is to be saved; raises BadInput that names each bad one."""
    try:
        row.clean_fields(exclude=exclude)
    except ValidationError as error:
        fields = sorted(getattr(error, "error_dict", {"name": None}))
        raise BadInput(
            "Check {fields}: {messages} Nothing was stored.".format(
                fields=", ".join(fields), messages=" ".join(error.messages)
            ),
            code="bad_field",
            details={"fields": fields},
        ) from None


def name_field(length: int = 100, **options: Any) -> "models.CharField[str, str]":
    """Return a text field for a name of visible characters."""
    return models.CharField(max_length=length, validators=[plain_name], **options)
