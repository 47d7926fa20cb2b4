"""The calendar: what rotates when, does it collide with a freeze, and a feed for one's own calendar."""

import calendar as months
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from keyvault.access.permissions import Permission, may
from keyvault.access.rate_limits import count_attempt, network_of
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    query_text,
    require_recent_auth,
)
from keyvault.console.one_time_page import hand_over
from keyvault.core.errors import BadInput, Denied, KeyServiceError, NotFound
from keyvault.core.request_context import current
from keyvault.inventory import catalog
from keyvault.models import Environment
from rotation.models import ChangeFreeze, FreezeCalendar
from rotation.notifications import preferences
from rotation.scheduling import calendar, freeze_calendars, freezes
from rotation.scheduling.freeze_days import Freezes, covering

_WRONG_FEEDS, _WINDOW = 60, 900


class FreezeForm(forms.Form):
    """Days on which nothing rotates by itself; both count."""

    name = forms.CharField(max_length=100, help_text="Such as “Black Friday”.", label="Name")
    first_day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}), label="First day")
    last_day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}), label="Last day")
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="All environments",
        label="Environment",
    )
    rule = forms.CharField(
        required=False,
        max_length=200,
        label="And again",
        help_text="Such as “last”, “first Monday”, or FREQ=YEARLY: for as many days each time.",
    )


_MOST_REMARKS = 10


class CalendarForm(forms.Form):
    """A calendar whose events are freezes: a file, read once, or an address, read each hour."""

    file = forms.FileField(
        required=False,
        label="A file (.ics)",
        widget=forms.ClearableFileInput(attrs={"accept": ".ics,text/calendar"}),
    )
    name = forms.CharField(required=False, max_length=100, label="Or one by address: its name")
    url = forms.URLField(
        required=False,
        max_length=1000,
        assume_scheme="https",
        label="Its address",
        help_text="Read each hour. It goes to Vault, and no page shows it again.",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="All environments",
        label="Environment",
    )

    def clean(self) -> dict[str, Any]:
        """Take one of the two."""
        said: dict[str, Any] = super().clean() or {}
        if bool(said.get("file")) == bool(said.get("url")):
            raise forms.ValidationError("Choose a file, or give a name and an address.")
        return said


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show one month, in the person's own zone."""
    return _page(request, FreezeForm())


@require_POST
@login_required_page
def freeze(request: HttpRequest) -> HttpResponse:
    """Add a freeze; what would have been due is planned anew at once."""
    form = FreezeForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    try:
        added = freezes.add_freeze(current_member(request), **form.cleaned_data)
    except KeyServiceError as error:
        return _page(request, form, error.message, error.status)
    messages.success(request, f"{added}: nothing rotates by itself then.")
    return redirect("calendar")


@require_POST
@login_required_page
def import_calendar(request: HttpRequest) -> HttpResponse:
    """Take the events of a file as freezes, or read an address from now on."""
    form = CalendarForm(request.POST, request.FILES, prefix="ics")
    if not form.is_valid():
        return _page(request, FreezeForm(), status=400, calendar_form=form)
    said = form.cleaned_data
    if said["url"]:
        require_recent_auth(request, back="calendar")
    try:
        word = _taken(request, said)
    except KeyServiceError as error:
        return _page(request, FreezeForm(), error.message, error.status, calendar_form=form)
    messages.success(request, word)
    return redirect("calendar")


def _taken(request: HttpRequest, said: dict[str, Any]) -> str:
    if said["url"]:
        feed = freeze_calendars.add_feed(
            current_member(request), said["name"], said["url"], said["environment"]
        )
        return f"{feed.name} is read within a minute, and then each hour."
    content = said["file"].read(freezes.LARGEST_FILE + 1)
    added, remarks = freezes.add_from_calendar(
        current_member(request), content, said["environment"]
    )
    for remark in remarks[:_MOST_REMARKS]:
        messages.warning(request, remark)
    text = (
        "{n} freeze was added: nothing rotates by itself then."
        if len(added) == 1
        else "{n} freezes were added: nothing rotates by itself then."
    )
    return text.format(n=len(added))


@require_POST
@login_required_page
def end_calendar(request: HttpRequest) -> HttpResponse:
    """Remove a calendar with its freezes."""
    found = FreezeCalendar.objects.filter(pk=parse_id(request.POST.get("feed")) or 0).first()
    if found is None:
        raise NotFound("There is no such calendar.")
    freeze_calendars.end_feed(current_member(request), found)
    messages.success(request, f"Calendar {found.name} and its freezes were removed.")
    return redirect("calendar")


@require_POST
@login_required_page
def end_freeze(request: HttpRequest) -> HttpResponse:
    """End a freeze."""
    found = ChangeFreeze.objects.filter(pk=parse_id(request.POST.get("freeze")) or 0).first()
    if found is None:
        raise NotFound("There is no such freeze.")
    freezes.end_freeze(current_member(request), found)
    messages.success(request, f"{found.name} is over; what it held back is planned anew.")
    return redirect("calendar")


@require_POST
@login_required_page
def renew_feed(request: HttpRequest) -> HttpResponse:
    """Show the address of one's own feed, this once."""
    if request.POST.get("end"):
        calendar.end_feed(current_member(request))
        messages.success(request, "The feed opens nothing any more.")
        return redirect("calendar")
    facts = {
        "address": calendar.renew_feed(current_member(request)).reveal(),
        "section": "rotations",
    }
    return hand_over(request, "console/calendar/feed.html", facts)


@require_safe
def feed(request: HttpRequest, text: str) -> HttpResponse:  # noqa: ARG001
    """Give the feed to whoever has its address; it names keys and times and no secret."""
    source = network_of(current().source)
    reader = calendar.reader_of(text)
    if reader is None:
        told = count_attempt("calendar feed", source, _WINDOW)
        return HttpResponse("No such feed.\n", status=404 if told <= _WRONG_FEEDS else 429)
    answer = HttpResponse(calendar.feed(reader), content_type="text/calendar; charset=utf-8")
    answer["Cache-Control"] = "no-store, private"
    return answer


def _page(
    request: HttpRequest,
    form: FreezeForm,
    problem: str = "",
    status: int = 200,
    calendar_form: CalendarForm | None = None,
) -> HttpResponse:
    wishes, held = preferences.preference_of(current_member(request)), Freezes()
    zone = ZoneInfo(wishes.time_zone)
    first = _month(query_text(request, "month", 7), zone)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    until = datetime.combine(last, time(0), tzinfo=zone)
    plan = calendar.planned(current_member(request), until, held)
    runs = [one for one in plan.runs if _in(one, first, zone)]
    seen = set(catalog.visible_environments(current_member(request)).values_list("pk", flat=True))
    known = [one for one in held.rows if one.environment_id is None or one.environment_id in seen]
    spans = [(one, span) for one, span in held.between(_first_shown(first), last) if one in known]
    facts: dict[str, Any] = {
        "weeks": _weeks(first, runs, spans, zone),
        "runs": runs,
        "cut_at": calendar.MOST if plan.cut else None,
        "zone": zone,
        "month": first,
        "before": (first - timedelta(days=1)).strftime("%Y-%m"),
        "after": last.strftime("%Y-%m"),
        "freezes": [one for one in known if one.rule or one.last_day >= timezone.now().date()],
        "feeds": FreezeCalendar.objects.filter(
            Q(environment__isnull=True) | Q(environment__in=seen)
        ),
        "calendar_form": calendar_form or CalendarForm(prefix="ics"),
        "can": may(current_member(request), Permission.MANAGE),
        "has_feed": bool(wishes.feed_digest),
        "form": form,
        "problem": problem,
        "section": "rotations",
    }
    return render(request, "console/calendar/calendar.html", facts, status=status)


def _first_shown(first: date) -> date:
    """Return the Monday with which the month's first week begins."""
    return first - timedelta(days=first.weekday())


def _month(text: str, zone: ZoneInfo) -> date:
    if not text:
        return timezone.now().astimezone(zone).date().replace(day=1)
    try:
        month = datetime.strptime(text, "%Y-%m").date()
    except ValueError:
        raise BadInput("The address asks for a month that is none, such as 2027-03.") from None
    if abs((month - timezone.now().date()).days) > 3660:
        raise Denied("Nothing is planned so far away.")
    return month


def _in(run: calendar.Planned, first: date, zone: ZoneInfo) -> bool:
    day = run.at.astimezone(zone).date()
    return day.year == first.year and day.month == first.month


def _weeks(
    first: date,
    runs: list[calendar.Planned],
    spans: list[tuple[ChangeFreeze, tuple[date, date]]],
    zone: ZoneInfo,
) -> list[list[dict[str, Any]]]:
    by_day: dict[date, list[calendar.Planned]] = {}
    for run in runs:
        by_day.setdefault(run.at.astimezone(zone).date(), []).append(run)
    today = timezone.now().astimezone(zone).date()
    return [
        [
            {
                "day": day,
                "here": day.month == first.month,
                "today": day == today,
                "runs": by_day.get(day, [])[:4],
                "more": max(0, len(by_day.get(day, [])) - 4),
                "frozen": covering(spans, day),
            }
            for day in week
        ]
        for week in months.Calendar().monthdatescalendar(first.year, first.month)
    ]
