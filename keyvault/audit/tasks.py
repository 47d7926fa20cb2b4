"""The tasks that sign the chain's head, and that begin a new part of the log each month."""

import logging

from celery import shared_task
from django.db import Error as AnyDatabaseError

from keyvault.audit import archive, checkpoints
from keyvault.audit.signing import NoSigningKey
from keyvault.vault.secret_store import StoreDenied, StoreUnavailable

log = logging.getLogger(__name__)


@shared_task(name="audit.seal")
def seal() -> None:
    """Write a signed checkpoint if the log has grown."""
    try:
        checkpoints.sign_checkpoint()
    except (NoSigningKey, StoreDenied, StoreUnavailable) as error:
        # What is not signed now is covered by the next checkpoint.
        log.error("no audit checkpoint", extra={"reason": str(error)})


@shared_task(name="audit.roll")
def roll() -> None:
    """Begin a new partition when the month has changed; a busy log is tried again next hour."""
    try:
        closed = archive.rotate_partition()
    except AnyDatabaseError as error:
        log.warning("audit partition not rolled", extra={"reason": type(error).__name__})
        return
    if closed:
        log.info("audit partition closed", extra={"partition": closed})
