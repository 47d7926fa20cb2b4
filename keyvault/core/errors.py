"""One error tree for everything a caller may have to explain to a person.

Every message is a text for people: what was wrong, what was not lost, what to do. None holds a secret.
"""

from typing import Any


class KeyServiceError(Exception):
    """Base of all: `code` for programs, `message` for people, `status` for HTTP, `retryable`."""

    code = "error"
    status = 500
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        # A text that waits for its language is told in the language of this moment.
        self.message = message
        super().__init__(self.message)
        self.code = code or self.code
        self.details = details or {}


class BadInput(KeyServiceError):
    """What was given cannot be used; nothing was changed."""

    code, status = "bad_input", 400


class Denied(KeyServiceError):
    """The person may know of the thing but not do this to it."""

    code, status = "denied", 403


class NotFound(KeyServiceError):
    """No such thing, or none that this person may know of: both read alike."""

    code, status = "not_found", 404


class Conflict(KeyServiceError):
    """The thing is not in a state that allows this."""

    code, status = "conflict", 409


class Unavailable(KeyServiceError):
    """A part we need is away; the same request may be sent again later."""

    code, status, retryable = "unavailable", 503, True
