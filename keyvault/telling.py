"""Open a task for people from here; the tasks themselves belong to the rotation app."""

from django.conf import settings
from django.utils.module_loading import import_string

from keyvault.core.errors import Conflict
from keyvault.models import ApiKey, KeyVersion, Member


def open_review(by: Member, key: ApiKey | None, text: str, about: str) -> None:
    """Ask everybody who may see the key to look at what `by` did; another person must close it."""
    import_string(settings.REVIEW_OPENER)(by, key, text, about)


def refuse_return(member: Member, source: str) -> Conflict:
    """Tell the owners that `source` wants a leaver back, and return the error to raise; commits.

    Only an owner lets somebody come back, by their page here. Not inside a transaction that the
    error would take back.
    """
    refused: Conflict = import_string(settings.RETURN_REFUSER)(member, source)
    return refused


def tell_of_loss(version: KeyVersion, why: str) -> str:
    """Have a current secret that Vault does not have looked into at once; returns what happens now."""
    said: str = import_string(settings.LOSS_TELLER)(version, why)
    return said


def no_return_asked(member: Member) -> None:
    """Close that question: the person is back, or the directory has them inactive as well."""
    import_string(f"{settings.DIRECTORY_NEWS}.no_return_asked")(member)


def tell_owners(about: str, title: str, text: str) -> None:
    """Tell the owners something of the directory, once for one cause."""
    import_string(f"{settings.DIRECTORY_NEWS}.tell_owners")(about, title, text)
