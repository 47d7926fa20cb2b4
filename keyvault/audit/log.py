"""Append to the audit log.

`record` joins the caller's transaction, so that a change and its row stand or fall together; call
it last, since it locks the head of the chain. `record_now` commits on a connection of its own, so
that no rollback of the request can erase it; a secret may leave only after it has returned.
If a row cannot be written, AuditUnavailable is raised and the act must not happen.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db import connections, models, transaction

from keyvault.audit.actors import Actor, Subject, audit_subject, system_actor
from keyvault.audit.models import Action
from keyvault.core.errors import Unavailable
from keyvault.core.redaction import one_line
from keyvault.core.request_context import current

_TRUSTED_SECONDS = 1.0
_TRIED_SECONDS = 3.0
_APPEND = "SELECT audit_append(%s::jsonb)"
_APPEND_NOW = "CALL audit_append_now(%s::jsonb, NULL)"


class AuditUnavailable(Unavailable):
    """The audit row could not be written, so nothing was released or changed."""

    code = "audit_unavailable"


def record(
    action: Action,
    actor: Actor,
    obj: models.Model | Subject | None = None,
    *,
    outcome: str = "ok",
    reason: str = "",
    **detail: Any,
) -> int:
    """Append one row in the caller's transaction; returns its sequence number."""
    payload = entry(action, actor, obj, outcome, reason, detail)
    return int(written("default", _APPEND, [json.dumps(payload)]))


def record_now(
    action: Action,
    actor: Actor,
    obj: models.Model | Subject | None = None,
    *,
    outcome: str = "ok",
    reason: str = "",
    **detail: Any,
) -> int:
    """Append and commit one row at once on its own connection; returns its sequence number.

    Refuses to run inside a transaction that may hold the head of the chain: it would wait for us.
    """
    payload = entry(action, actor, obj, outcome, reason, detail)
    return int(written("audit", _APPEND_NOW, [json.dumps(payload)]))


_tried: tuple[float, bool] | None = None


def writable() -> bool:
    """Return whether a row could be written now: tries it and takes it back, once in a few seconds."""
    global _tried
    if _tried is None or time.monotonic() - _tried[0] > _TRIED_SECONDS:
        _tried = (time.monotonic(), _try())
    return _tried[1]


def forget() -> None:
    """Try anew at the next question."""
    global _tried
    _tried = None


def _try() -> bool:
    payload = entry(Action.AUDIT_EXPORTED, system_actor("a try"), None, "denied", "", {})
    try:
        with transaction.atomic(using="audit"):
            with connections["audit"].cursor() as cursor:
                cursor.execute(_APPEND, [json.dumps(payload)])
            transaction.set_rollback(True, using="audit")
    except AnyDatabaseError:
        return False
    return True


def entry(
    action: Action,
    actor: Actor,
    obj: models.Model | Subject | None,
    outcome: str,
    reason: str,
    detail: dict[str, Any],
) -> dict[str, Any]:
    """Return what a row says; the database adds its number and time."""
    subject = obj if isinstance(obj, Subject) else audit_subject(obj)
    context = current()
    return {
        "v": 1,
        "action": str(action),
        "outcome": outcome,
        "reason": one_line(reason, 500),
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_label": one_line(actor.label, 300),
        "on_behalf_of": one_line(actor.on_behalf_of, 300),
        "object_kind": subject.kind,
        "object_id": subject.id,
        "object_label": subject.label,
        "key_id": subject.key_id,
        "request_id": context.request_id,
        "source": context.source,
        "detail": {name: _plain(value) for name, value in detail.items()},
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return one_line(str(value), 500)


def written(alias: str, statement: str, values: Sequence[Any]) -> Any:
    """Run a statement that appends a row, and return its one value; AuditUnavailable when it cannot.

    On `audit` it commits at once, and is refused inside a transaction that may hold the chain's head.
    """
    if alias == "audit" and transaction.get_connection("default").in_atomic_block:
        raise RuntimeError("record_now must not be called inside a transaction")
    connection: Any = connections[alias]
    if time.monotonic() - getattr(connection, "answered_at", 0) < _TRUSTED_SECONDS:
        # Else each first statement of a request is preceded by another that asks for a sign of life.
        connection.health_check_done = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            (value,) = cursor.fetchone()
        connection.answered_at = time.monotonic()
    except AnyDatabaseError as error:
        raise AuditUnavailable(
            "The audit log could not be written, so nothing was done and nothing was released. "
            "Try again in a moment; if it persists, look at the database."
        ) from error
    return value
