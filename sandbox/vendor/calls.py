"""One call of the API: who makes it, with which key, on which route, and what came of it."""

from dataclasses import dataclass, field

from sandbox.vendor.answers import Answer, Request
from sandbox.vendor.state import Account, Key


@dataclass(frozen=True)
class Call:
    """A request whose route is known. `key` is the one presented, `target` the id in the path."""

    request: Request = field(repr=False)
    route: str
    account: Account | None
    key: Key | None
    target: str = ""

    @property
    def presented(self) -> str:
        """The credential the caller sent; empty for none."""
        return self.request.bearer

    @property
    def key_id(self) -> str | None:
        """The id of the key that the call is about."""
        return self.key.id if self.key else self.target or None


@dataclass(frozen=True)
class Result:
    """The answer, its word in the ledger, and what else the ledger notes of it."""

    answer: Answer
    outcome: str
    key_id: str | None = None
    label: str | None = None
    used: bool = False
    credits: int = 0
