"""What this app knows of a vendor's verdict on a secret; the asking is done by the rotation app."""

from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from keyvault.core.secret import Secret
from keyvault.models import VendorAccount

VALID, REFUSED, CANNOT_TELL = "valid", "refused", "cannot_tell"


class Verdict(Protocol):
    """A vendor's answer about one secret."""

    @property
    def answer(self) -> str:
        """Return `valid`, `refused` or `cannot_tell`."""

    @property
    def text(self) -> str:
        """Return the reason for people, redacted."""

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the vendor said of the account, to compare two keys by."""

    @property
    def account(self) -> str:
        """Return the vendor's own id of the secret's account; empty where it tells none."""


def ask_vendor(account: VendorAccount, secret: Secret) -> Verdict:
    """Ask the account's vendor about `secret`, through the function that settings name."""
    verdict: Verdict = import_string(settings.KEY_CHECKER)(account, secret)
    return verdict
