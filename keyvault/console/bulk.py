"""Rotate or export many keys at once: those that were ticked, or all that fit the filters."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import cast
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from keyvault.access.permissions import visible_keys
from keyvault.audit.actors import member_actor
from keyvault.audit.export import safe_cell
from keyvault.audit.log import record_now
from keyvault.audit.models import Action
from keyvault.console.decorators import current_member, login_required_page, parse_id, text_of
from keyvault.console.keys import Keys, chosen_query, filtered
from keyvault.core.errors import BadInput, KeyServiceError
from keyvault.models import ApiKey
from rotation.campaigns import bulk
from rotation.notifications import preferences

_COLUMNS = (
    "id",
    "name",
    "account",
    "environment",
    "application",
    "member",
    "last_four",
    "state_of_last_check",
    "in_use_since",
    "expires_at",
    "next_rotation_at",
    "purpose",
)


class BulkForm(forms.Form):
    """Why, and until when."""

    title = forms.CharField(max_length=200, label="Why", help_text="It stands on each rotation.")
    finish_by = forms.DateField(
        required=False,
        label="Finished by the end of",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=(
            "They are spread evenly until then, each in its own window, two keys of one "
            "application never at once. Empty: as fast as the limits allow."
        ),
    )

    def until(self, zone: ZoneInfo) -> datetime | None:
        """Return the end of that day in the person's zone, as UTC."""
        day = self.cleaned_data["finish_by"]
        end = datetime.combine(day, time(23, 59, 59), tzinfo=zone) if day else None
        return end.astimezone(UTC) if end else None


@require_POST
@login_required_page
def rotate(request: HttpRequest) -> HttpResponse:
    """Show what rotating the chosen keys means; with `start`, begin."""
    form = BulkForm(request.POST if "title" in request.POST else None)
    found, said = _chosen(request)
    if "start" not in request.POST or not form.is_valid():
        return _page(request, found, said, form, status=400 if form.errors else 200)
    zone = ZoneInfo(preferences.preference_of(current_member(request)).time_zone)
    try:
        campaign = bulk.start(
            current_member(request), form.cleaned_data["title"], found, form.until(zone)
        )
    except KeyServiceError as error:
        return _page(request, found, said, form, error.message, error.status)
    return redirect("campaign", campaign.pk)


def _chosen(request: HttpRequest) -> tuple[Keys, dict[str, object]]:
    """Return the chosen keys among those that one may see, and what the form carries along."""
    visible = visible_keys(current_member(request))
    if request.POST.get("all"):
        query = chosen_query(QueryDict(text_of(request.POST, "query", 1000)))
        return filtered(QueryDict(query), visible), {"all": "yes", "query": query, "keys": []}
    sent = request.POST.getlist("key")[: bulk.MOST]
    ticked = [found for one in sent if (found := parse_id(one)) is not None]
    if not ticked:
        raise BadInput("Tick at least one key, or choose all that fit. Nothing was started.")
    return visible.filter(pk__in=ticked), {"all": "", "query": "", "keys": ticked}


def _page(
    request: HttpRequest,
    found: Keys,
    said: dict[str, object],
    form: BulkForm,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    seen = bulk.preview(current_member(request), found)
    if not form.is_bound:
        form = BulkForm(initial={"title": f"Rotation of {seen.mine} keys"})
    facts = {
        "preview": seen,
        "said": said,
        "form": form,
        "problem": problem,
        "section": "keys",
    }
    return render(request, "console/campaigns/bulk.html", facts, status=status)


@require_POST
@login_required_page
def export(request: HttpRequest) -> HttpResponse:
    """Stream the list as CSV: what it shows, and no secret; it is on record before it leaves."""
    query = chosen_query(QueryDict(text_of(request.POST, "query", 1000)))
    found = filtered(QueryDict(query), visible_keys(current_member(request)))
    record_now(
        Action.INVENTORY_EXPORTED,
        member_actor(current_member(request)),
        asked=query or "every key one sees",
    )
    answer = StreamingHttpResponse(_lines(found), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="keys-{timezone.now():%Y-%m-%d}.csv"'
    answer["Cache-Control"] = "no-store, private"
    return cast(HttpResponse, answer)


def _lines(found: Keys) -> Iterator[str]:
    yield _line(list(_COLUMNS))
    rows = found.select_related(
        "account", "environment", "application", "member", "current", "policy"
    )
    for key in rows.order_by("pk").iterator(chunk_size=1000):
        yield _line(_cells(key))


def _cells(key: ApiKey) -> list[str]:
    current, policy = key.current, getattr(key, "policy", None)
    planned = policy.next_run_at if policy and policy.enabled else None
    return [
        str(key.pk),
        safe_cell(key.name),
        safe_cell(str(key.account)),
        safe_cell(str(key.environment)),
        safe_cell(str(key.application or "")),
        safe_cell(str(key.member or "")),
        safe_cell(current.tail if current else ""),
        current.check_answer if current else "",
        _moment(current.published_at if current else None),
        _moment(current.expires_at if current else None),
        _moment(planned),
        safe_cell(key.purpose),
    ]


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
