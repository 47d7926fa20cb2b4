"""Open a task for people from here; the tasks themselves belong to the rotation app."""

from django.conf import settings
from django.utils.module_loading import import_string

from keyvault.models import ApiKey, Member


def open_review(by: Member, key: ApiKey | None, text: str, about: str) -> None:
    """Ask everybody who may see the key to look at what `by` did; another person must close it."""
    import_string(settings.REVIEW_OPENER)(by, key, text, about)
