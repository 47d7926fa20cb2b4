"""The audit log: who did what to which thing, newest first. Reading it is recorded as well."""

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from keyvault.audit.log import member_actor, record_now
from keyvault.audit.models import Action, AuditEvent, ChainHead
from keyvault.audit.verify import row_hash
from keyvault.errors import Denied
from keyvault.permissions import Verb, may
from keyvault.views.pages import me, newest_first, next_link, number, page, words


@require_GET
@page
def listing(request: HttpRequest) -> HttpResponse:
    """Show audit rows with simple filters, and whether those shown fit the chain."""
    if not may(me(request), Verb.READ_AUDIT):
        raise Denied("Only owners and auditors may read the audit log.")
    rows, after = newest_first(_filtered(request), number(request.GET.get("after")))
    record_now(Action.AUDIT_READ, member_actor(me(request)), reason=request.GET.urlencode()[:200])
    facts = {
        "rows": rows,
        "next": next_link(request, after),
        "actions": Action.choices,
        "chosen": {name: words(request, name) for name in ("action", "actor", "object", "key")},
        "head": ChainHead.objects.first(),
        "unfit": [row.seq for row in rows if not fits(row)],
        "section": "audit",
    }
    return render(request, "keyvault/audit.html", facts)


def _filtered(request: HttpRequest) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.all()
    if action := words(request, "action"):
        rows = rows.filter(action=action)
    if actor := words(request, "actor"):
        rows = rows.filter(actor_label__icontains=actor)
    if thing := words(request, "object"):
        rows = rows.filter(object_label__icontains=thing)
    if (key := number(request.GET.get("key"))) is not None:
        rows = rows.filter(key_id=key)
    return rows


def fits(row: AuditEvent) -> bool:
    """Return whether the row's text still has the hash that was written with it."""
    return row_hash(row.seq, bytes(row.prev), row.payload) == bytes(row.hash)
