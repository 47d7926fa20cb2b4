"""What is written to Vault stays there only as long as a row names it.

Web processes write secrets and may destroy none, so the worker does. A row says so before the secret
is written; it goes in the transaction that saves what names the secret, and comes back in the one
that removes it. Whatever is refused or cut off, nothing stays in Vault for good that nothing names.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from keyvault.core.errors import Conflict
from keyvault.models.stored_secrets import OrphanedSecret
from keyvault.vault import secret_store

# A request that wrote a secret and is not through by then has been cut off.
SETTLED_AFTER = timedelta(minutes=15)


def store_secret(area: str, data: dict[str, str], path: uuid.UUID | None = None) -> uuid.UUID:
    """Write a secret and return its path; `keep` it together with what names it, or it goes again.

    Not inside a transaction: the row must be there however the write ends.
    """
    path = path or uuid.uuid4()
    OrphanedSecret.objects.create(area=area, path=path)
    secret_store.write_once(area, path, data)
    return path


def claim_secret(path: uuid.UUID) -> None:
    """Note, in the transaction that saves what names it, that the secret is wanted; Conflict if gone."""
    # guard: leftover named while it goes
    if not OrphanedSecret.objects.filter(path=path, doomed_at__isnull=True).delete()[0]:
        raise Conflict(
            "This took too long, and what was stored is gone. Nothing was saved; do it again."
        )


def adopt_secret(path: uuid.UUID) -> None:
    """Note the same of a secret that lay there unnamed, whether or not it was to go; Conflict if it goes."""
    if OrphanedSecret.objects.filter(path=path).exists():
        claim_secret(path)


@contextmanager
def saving(path: uuid.UUID | None) -> Iterator[None]:
    """Run a transaction that keeps the secret; whatever refuses it, the next sweep destroys the secret."""
    saved = False
    try:
        with transaction.atomic():
            if path is not None:
                claim_secret(path)
            yield
        saved = True
    finally:
        # guard: refused secret given up at once
        if not saved and path is not None:
            OrphanedSecret.objects.filter(path=path).update(since=timezone.now() - SETTLED_AFTER)


def release_secret(area: str, path: uuid.UUID | None) -> None:
    """Note, in the transaction that removes what names it, that the secret is wanted no more."""
    if path is not None:
        OrphanedSecret.objects.create(area=area, path=path)


def under_way() -> set[str]:
    """Return the paths of what was written a moment ago and is not named yet."""
    young = OrphanedSecret.objects.filter(since__gt=timezone.now() - SETTLED_AFTER)
    return {str(path) for path in young.values_list("path", flat=True).iterator()}
