"""A secret in memory: a type that never prints, logs, pickles or compares itself by accident."""

import hmac
from typing import Any, NoReturn

from keyvault.core import redaction


class Secret:
    """Wraps a secret string; `reveal()` is the only way to the value.

    The value is made known to the log redaction, so that it is hidden wherever it turns up.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        redaction.remember(value)

    def reveal(self) -> str:
        """Return the plain value; keep it out of names that outlive the call."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    def __getstate__(self) -> Any:
        raise TypeError("a secret cannot be copied into a message")
