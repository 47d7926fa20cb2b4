"""What `keyvault` asks of `rotation`, which is built on it and never imported from here.

The rotation app connects each hook once, when it is ready. A hook that nobody connected is an error
at the start, not at 3 a.m.
"""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured

from keyvault.core.errors import Conflict
from keyvault.models import ApiKey, KeyVersion, Member

P = ParamSpec("P")
Result = TypeVar("Result")


class Hook(Generic[P, Result]):
    """A function that is defined further up, to be called like one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._function: Callable[P, Result] | None = None

    def connect(self, function: Callable[P, Result]) -> None:
        """Say what is called from now on."""
        self._function = function

    @property
    def connected(self) -> bool:
        """Return whether there is something to call."""
        return self._function is not None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call what is connected; raises ImproperlyConfigured when nothing is."""
        if self._function is None:
            raise ImproperlyConfigured(f"Nothing is connected to the hook {self.name}.")
        return self._function(*args, **kwargs)


# Ask everybody who may see the key to review what a person did alone: (by, key, text, dedup key).
open_review: Hook[[Member, ApiKey | None, str, str], None] = Hook("open_review")
# Tell the owners that a source, such as the directory, wants a leaver back; returns the error to
# raise. It commits: not inside a transaction that the error would take back.
refuse_return: Hook[[Member, str], Conflict] = Hook("refuse_return")
# Close that question: the person is back, or the directory has them inactive as well.
close_return_request: Hook[[Member], None] = Hook("close_return_request")
# Have a current secret that Vault has lost looked into at once; returns what happens now, in words.
report_lost_secret: Hook[[KeyVersion, str], str] = Hook("report_lost_secret")
# Notify the owners of something in the directory, once for one cause: (dedup key, title, text).
notify_owners: Hook[[str, str, str], None] = Hook("notify_owners")

HOOKS = (open_review, refuse_return, close_return_request, report_lost_secret, notify_owners)
