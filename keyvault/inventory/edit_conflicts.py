"""Has somebody else changed what a person is looking at? Said with who and what, before it is lost.

The audit log knows: a form carries the number of the last row about its thing, and a save that
finds a later one is told what that says.
"""

import json

from django.db.models import Model

from keyvault.audit.actors import audit_subject
from keyvault.audit.models import Action, AuditEvent
from keyvault.core.errors import Conflict

_CHANGES = (
    Action.POLICY_CHANGED,
    Action.ENVIRONMENT_CHANGED,
    Action.APPLICATION_CHANGED,
    Action.ACCOUNT_CHANGED,
)


def edit_mark(row: Model | None) -> str:
    """Return what a form about the row carries along; "0" while nothing was changed."""
    last = _last(row)
    return str(last.seq) if last else "0"


def _last(row: Model | None) -> AuditEvent | None:
    if row is None or row.pk is None:
        return None
    it = audit_subject(row)
    changes = AuditEvent.objects.filter(object_kind=it.kind, object_id=it.id, action__in=_CHANGES)
    return changes.order_by("-seq").first()


def require_unchanged(seen: str | None, row: Model | None) -> None:
    """Raise Conflict if the row was changed after the form was shown; None or "" asks nothing.

    The caller holds a lock on the row, so that nobody changes it between this and the save.
    """
    last = _last(row)
    # guard: changed meanwhile
    if not seen or last is None or str(last.seq) == seen:
        return
    said = json.loads(last.payload).get("detail") or {}
    what = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said.items())
    raise Conflict(
        (
            "{actor_label} changed this at {at:%H:%M:%S} UTC, after you opened the page: "
            "{what}. Yours was not stored; it still stands in the form. Save again to "
            "replace what is there now."
        ).format(actor_label=last.actor_label, at=last.at, what=what or "see its history"),
        code="stale",
    )
