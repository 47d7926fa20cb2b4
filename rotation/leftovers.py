"""Addresses and signing secrets of webhooks, chats and calendars: in Vault as long as a row names them.

Web processes write such a secret and may destroy none, so the worker does. A row says so before the
secret is written; it goes in the transaction that saves what names the secret, and comes back in the
one that removes it. Whatever is cut off, nothing stays in Vault for good that nothing here names.
"""

import logging
import uuid
from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import secret_store
from keyvault.audit.log import system_actor
from keyvault.errors import Conflict, KeyServiceError
from rotation.human_tasks import close_alert, is_open, open_alert
from rotation.models import HumanTask, Leftover
from rotation.outbox import WEBHOOKS

log = logging.getLogger(__name__)
ABOUT = "leftovers"
# A request that wrote a secret and is not through by then has been cut off.
SETTLED_AFTER = timedelta(minutes=15)
_BATCH = 50
_ACTOR = system_actor("destroying what nothing names")


def write(data: dict[str, str]) -> uuid.UUID:
    """Write a secret and return its path; `keep` it together with what names it, or it goes again.

    Not inside a transaction: the row must be there however the write ends.
    """
    path = uuid.uuid4()
    Leftover.objects.create(path=path)
    secret_store.write_once(WEBHOOKS, path, data)
    return path


def keep(path: uuid.UUID) -> None:
    """Note, in the transaction that saves what names it, that the secret is wanted; Conflict if gone."""
    if not Leftover.objects.filter(path=path, doomed_at__isnull=True).delete()[0]:
        raise Conflict(
            _("This took too long, and what was stored is gone. Nothing was saved; do it again.")
        )


def leave(path: uuid.UUID | None) -> None:
    """Note, in the transaction that removes what names it, that the secret is wanted no more."""
    if path is not None:
        Leftover.objects.create(path=path)


def destroy_all() -> int:
    """Destroy what has been left for a while; what Vault refuses is told and tried again."""
    old = Leftover.objects.filter(since__lte=timezone.now() - SETTLED_AFTER)
    refused, done = "", 0
    for one in old[:_BATCH]:
        # Taken first, in one statement: from now on nobody can keep it.
        if not Leftover.objects.filter(pk=one.pk).update(doomed_at=Now()):
            continue
        try:
            secret_store.destroy(WEBHOOKS, one.path)
        except secret_store.StoreDenied as error:
            refused = error.message
            break
        except KeyServiceError as error:
            log.warning("leftover not destroyed", extra={"path": one.path, "error": str(error)})
            break
        Leftover.objects.filter(pk=one.pk).delete()
        done += 1
    _tell(refused, done)
    return done


def _tell(refused: str, done: int) -> None:
    if refused:
        text = (
            f"Addresses and signing secrets that nothing uses any more stay in Vault: {refused} "
            "Write the worker's policy anew with deploy/vault-setup."
        )
        open_alert(_ACTOR, HumanTask.Kind.FINDING, ABOUT, text)
    elif done and is_open(HumanTask.Kind.FINDING, ABOUT):
        close_alert(_ACTOR, HumanTask.Kind.FINDING, ABOUT, "They are destroyed.")
