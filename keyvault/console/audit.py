"""The audit log: who did what to which thing, newest first. Reading it is recorded as well."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import cast
from urllib.parse import urlencode

from django.db.models import DateTimeField, ExpressionWrapper, F, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor
from keyvault.audit.export import csv_lines, json_lines
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent, ChainHead
from keyvault.audit.verify import BEGINNING, row_hash
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    query_text,
    text_of,
)
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import BadInput, Denied
from keyvault.core.redaction import one_line
from keyvault.models.approvals import ApprovalAction

_FILTERS = ("action", "actor", "object", "key", "text", "since", "until")
_FORMATS: dict[str, tuple[str, Callable[[int, int | None], Iterator[str]]]] = {
    "jsonl": ("application/x-ndjson", json_lines),
    "csv": ("text/csv", csv_lines),
}
_SEARCHED = timedelta(days=30)
# Rows around a time are out of order by so many at most, where a clock was set.
_JUMPS = 1000


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show audit rows with simple filters, and whether those shown fit the chain."""
    if not may(current_member(request), Permission.READ_AUDIT):
        raise Denied("Only owners and auditors may read the audit log.")
    rows, after = newest_first(_filtered(request), parse_id(request.GET.get("after")))
    record_now(
        Action.AUDIT_READ,
        member_actor(current_member(request)),
        reason=request.GET.urlencode()[:200],
    )
    facts = {
        "rows": rows,
        "next": next_link(request, after),
        "actions": Action.choices,
        "chosen": {name: query_text(request, name) for name in _FILTERS},
        "head": ChainHead.objects.first(),
        "now": timezone.now(),
        "query": chosen_query(request.GET),
        "views": list(current_member(request).views.filter(of="audit")[:50]),
        "unfit": [row.seq for row in rows if not fits(row)],
        "section": "audit",
    }
    return render(request, "console/audit/list.html", facts)


def chosen_query(said: QueryDict) -> str:
    """Return the filters without empty ones, and without the place in the list."""
    kept = {name: text_of(said, name) for name in _FILTERS}
    return urlencode({name: value for name, value in kept.items() if value})


def _filtered(request: HttpRequest) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.all()
    if action := query_text(request, "action"):
        rows = rows.filter(action=action)
    if actor := query_text(request, "actor"):
        rows = rows.filter(actor_label__icontains=actor)
    if thing := query_text(request, "object"):
        rows = rows.filter(object_label__icontains=thing)
    if (key := parse_id(request.GET.get("key"))) is not None:
        rows = rows.filter(key_id=key)
    if since := _day(request, "since"):
        rows = rows.filter(at__gte=since)
    if until := _day(request, "until"):
        rows = rows.filter(at__lt=until + timedelta(days=1))
    if wanted := query_text(request, "text"):
        rows = _searched(rows, wanted, since or timezone.now() - _SEARCHED)
    return rows


def _searched(rows: QuerySet[AuditEvent], wanted: str, since: datetime) -> QuerySet[AuditEvent]:
    """Search the text of the rows since then, the newest first.

    Without an index on words, the time that is searched is what bounds the work. It is looked up as
    a row number, for the rows lie in this order: what is found soon is shown soon. The time itself
    is compared too, since a clock may have jumped, but not through its index.
    """
    first = AuditEvent.objects.filter(at__gte=since).order_by("at").values_list("seq", flat=True)
    beginning = min(first[:_JUMPS], default=None)
    if beginning is None:
        return rows.none()
    when = ExpressionWrapper(F("at") + timedelta(0), output_field=DateTimeField())
    late = rows.filter(seq__gte=beginning).annotate(when=when)
    return late.filter(when__gte=since, payload__icontains=wanted)


def _day(request: HttpRequest, name: str) -> datetime | None:
    """Return the start (UTC) of the day that a filter names; BadInput for what is no day."""
    said = request.GET.get(name, "")
    if not said:
        return None
    try:
        day = date.fromisoformat(said)
    except ValueError:
        raise BadInput(f"“{one_line(said, 20)}” is not a day: write 2026-01-31.") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@require_POST
@login_required_page
def export(request: HttpRequest) -> HttpResponse:
    """Stream the log, or the part between two numbers, so that it verifies elsewhere."""
    form = request.POST.get("format", "jsonl")
    if form not in _FORMATS:
        raise BadInput("Choose one of the formats {formats}.".format(formats=", ".join(_FORMATS)))
    first, last = parse_id(request.POST.get("first")), parse_id(request.POST.get("last"))
    asked = f"{form} from {first} to {last}"
    allowed = may(current_member(request), Permission.READ_AUDIT)
    if not allowed:
        record_now(
            Action.AUDIT_EXPORTED,
            member_actor(current_member(request)),
            outcome="denied",
            asked=asked,
        )
        raise Denied("Only owners and auditors may export the audit log.")
    parameters = {"format": form, "first": first, "last": last}
    approvals.require(
        current_member(request),
        Asked(ApprovalAction.EXPORT, f"Export the audit log as {asked}", parameters),
    )
    record_now(Action.AUDIT_EXPORTED, member_actor(current_member(request)), asked=asked)
    kind, lines = _FORMATS[form]
    after = BEGINNING if first is None else first - 1
    answer = StreamingHttpResponse(lines(after, last), content_type=f"{kind}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit.{form}"'
    return cast(HttpResponse, answer)


def fits(row: AuditEvent) -> bool:
    """Return whether the row's text still has the hash that was written with it."""
    return row_hash(row.seq, bytes(row.prev), row.payload) == bytes(row.hash)
