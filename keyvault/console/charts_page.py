"""How it all stands, in charts; and the style page for who builds on this console."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.access.permissions import visible_keys
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.forms.rotations import AccountForm
from keyvault.console.progress import track
from keyvault.templatetags.console_tags import ICONS, STATES
from rotation.models import Rotation, Step
from rotation.monitoring import stats
from rotation.monitoring.charts import chart

_TOKENS = (
    *("bg", "card", "raised", "line", "line-strong", "text", "dim", "accent", "on-accent", "soft"),
    *("good", "good-bg", "warn", "warn-bg", "bad", "bad-bg", "info", "info-bg", "calm", "calm-bg"),
)


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show the charts over the keys that one may see."""
    keys = visible_keys(current_member(request))
    counted = stats.standing(keys)
    stands = counted.value
    charts = [stands.by_state(), stands.by_age(), stats.per_week(keys), stands.by_answer()]
    facts = {"charts": charts, "counted_at": counted.at, "section": "home"}
    return render(request, "console/home/charts.html", facts)


@require_GET
@login_required_page
def style(request: HttpRequest) -> HttpResponse:
    """Show every part that pages are made of, drawn by the very templates that pages use."""
    sample = Rotation(step=Step.VERIFY, step_since=timezone.now())
    rows = [("Mon", [3, 1]), ("Tue", [5, 0]), ("Wed", [2, 2])]
    facts = {
        "states": [name for name in STATES if name],
        "icons": list(ICONS),
        "tokens": _TOKENS,
        "track": track(sample),
        "form": AccountForm(),
        "chart": chart("sample", "A chart", [("done", "good"), ("failed", "bad")], rows),
        "now": timezone.now(),
        "section": "settings",
    }
    return render(request, "console/parts/style.html", facts)
