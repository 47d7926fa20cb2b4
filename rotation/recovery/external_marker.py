"""What outlives a restore of Postgres and Vault from one moment: how far the audit log was, elsewhere.

The two carry the same mark then, and each fits the other. The broker is told at each roll how far the
log was, and the exported checkpoints say it too; a log that ends earlier, or goes another way, was
restored. Either may be missing: then it says nothing.
"""

import json
import logging

import redis

from keyvault.audit import checkpoints
from keyvault.audit.models import ChainHead
from rotation import dependencies

log = logging.getLogger(__name__)
_NAME = "keyvault:witness"


def difference() -> str:
    """Return how the log differs from what was seen of it elsewhere; an empty text when it does not."""
    told = _told()
    if told and not checkpoints.holds(*told):
        return _words("the broker", told[0])
    return _words("the exported checkpoints", None) if checkpoints.export_is_ahead() else ""


def _words(where: str, seq: int | None) -> str:
    row = f" (row #{seq})" if seq is not None else ""
    return (
        f"The audit log lacks what {where} had seen of it{row}: the database was restored from a "
        "backup, and Vault perhaps with it."
    )


def _told() -> tuple[int, str] | None:
    try:
        with dependencies.broker_link() as link:
            said = json.loads(link.get(_NAME) or "null")
        return (int(said["seq"]), str(said["hash"])) if said else None
    except (redis.RedisError, OSError, ValueError, KeyError, TypeError):
        return None


def note() -> None:
    """Tell the broker how far the log is; it is only asked for what it knows."""
    head = ChainHead.objects.using("audit").get(pk=1)
    said = json.dumps({"seq": head.seq, "hash": bytes(head.hash).hex()})
    try:
        with dependencies.broker_link() as link:
            link.set(_NAME, said)
    except (redis.RedisError, OSError, ValueError) as error:
        log.warning("witness not told", extra={"error": type(error).__name__})


def accept_current_log() -> None:
    """Take the log as it is for the true one, from now on: a person has settled the rest."""
    note()
    checkpoints.begin_export_anew()


def forget() -> None:
    """Have the broker forget what it was told."""
    with dependencies.broker_link() as link:
        link.delete(_NAME)
