"""Campaigns: which keys must be dealt with after an incident, how far it is, and what is left."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from keyvault.access.permissions import Permission, may, require_owner
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
    text_of,
)
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import BadInput, KeyServiceError, NotFound
from keyvault.models import Application, Environment, Member, VendorAccount
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.models import Reason
from rotation.models.campaigns import Campaign

_WORDS = [
    ("waiting", "waits", "schedule"),
    ("under way", "under way", "moving"),
    ("failed", "failed", "failed"),
    ("open", "need a word", "person"),
    ("rotated", "rotated", "done"),
    ("dead", "dead at the vendor", "done"),
    ("accepted", "accepted", "ok"),
]


class StartForm(forms.Form):
    """What happened, and which keys it is about, in one of three ways."""

    title = forms.CharField(max_length=200, label="What happened")
    reason = forms.ChoiceField(
        choices=[(one.value, one.label) for one in service.REASONS if one != Reason.LEAVER],
        label="Reason",
    )
    account = forms.ModelChoiceField(
        VendorAccount.objects.all(), required=False, empty_label="All", label="Keys of the account"
    )
    application = forms.ModelChoiceField(
        Application.objects.all(),
        required=False,
        empty_label="All",
        label="of the application",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="All",
        label="in the environment",
    )
    person = forms.ModelChoiceField(
        Member.objects.order_by("email"), required=False, label="Or all that this person knows"
    )
    readable_by = forms.ModelChoiceField(
        Application.objects.all(),
        required=False,
        label="Or all that this application's tokens read",
    )
    since = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="At any time since then (UTC).",
        label="Since",
    )

    def choice(self) -> Choice:
        """Return which keys were asked for."""
        said = dict(self.cleaned_data)
        return Choice(**{name: said[name] for name in Choice.__dataclass_fields__})


@require_http_methods(["GET", "POST"])
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """List campaigns; a POST shows which keys match, or starts one over them."""
    require_owner(current_member(request), "look at campaigns")
    if request.method == "GET":
        places = ("account", "application", "environment")
        chosen = {name: parse_id(request.GET.get(name)) for name in places}
        return _list(request, StartForm(initial=chosen))
    form = StartForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    try:
        exposed = service.exposed_by(form.choice())
        if "start" not in request.POST:
            return _list(request, form, preview=service.preview(exposed))
        require_recent_auth(request)
        reason = Reason(form.cleaned_data["reason"])
        made = service.start(current_member(request), form.cleaned_data["title"], reason, exposed)
    except KeyServiceError as error:
        return _list(request, form, problem=error.message, status=error.status)
    return redirect("campaign", made.pk)


@require_GET
@login_required_page
def show(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show how far it is, and its keys: the open ones, or those that are settled."""
    campaign = _campaign(request, campaign_id)
    settled = request.GET.get("show") == "settled"
    rows, after = newest_first(
        service.items_of(campaign, settled=settled), parse_id(request.GET.get("after"))
    )
    facts = {
        "campaign": campaign,
        "rows": [service.standing(one) for one in rows],
        "settled": settled,
        "owner": may(current_member(request), Permission.MANAGE),
        "next": next_link(request, after),
        "section": "rotations",
        **_progress(campaign),
    }
    return render(request, "console/campaigns/detail.html", facts)


@require_GET
@login_required_page
def live(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Answer with the part that moves by itself."""
    campaign = _campaign(request, campaign_id)
    facts = {"campaign": campaign, **_progress(campaign)}
    return render(request, "console/campaigns/_live.html", facts)


@require_POST
@login_required_page
def end(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Stop a planned campaign: start no further rotation."""
    campaign = _campaign(request, campaign_id)
    service.end(current_member(request), campaign)
    messages.success(request, "Nothing more of it begins; what is under way goes on.")
    return redirect("campaign", campaign.pk)


@require_POST
@login_required_page
def act(request: HttpRequest, campaign_id: int, item_id: int, deed: str) -> HttpResponse:
    """Accept one key as it is, with a reason, or have a failed rotation started anew."""
    campaign = _campaign(request, campaign_id)
    item = campaign.items.select_related("key").filter(pk=item_id).first()
    if item is None:
        raise NotFound("This campaign has no such key.")
    if deed == "accept":
        service.accept(current_member(request), item, text_of(request.POST, "reason", 500))
        messages.success(request, f"{item.key.name} is accepted as it is.")
    elif deed == "retry":
        service.retry(current_member(request), item)
        messages.success(request, f"{item.key.name} is tried again within a minute.")
    else:
        raise BadInput("Accept or retry. Nothing was changed.")
    return redirect("campaign", campaign.pk)


def _campaign(request: HttpRequest, campaign_id: int) -> Campaign:
    """Return the campaign, to owners and to who started it."""
    found = Campaign.objects.select_related("started_by").filter(pk=campaign_id).first()
    if found is None or found.started_by_id != current_member(request).pk:
        require_owner(current_member(request), "look at campaigns")
    if found is None:
        raise NotFound("There is no such campaign.")
    return found


def _progress(campaign: Campaign) -> dict[str, Any]:
    counts = service.counts(campaign)
    total = sum(counts.values())
    settled = sum(counts.get(name, 0) for name in service.SETTLED_STATES)
    parts = [(word, look, counts[name]) for name, word, look in _WORDS if counts.get(name)]
    return {"total": total, "done": settled, "parts": parts}


def _list(
    request: HttpRequest,
    form: StartForm,
    *,
    status: int = 200,
    problem: str = "",
    preview: Any = None,
) -> HttpResponse:
    found: QuerySet[Campaign] = service.with_counts(Campaign.objects.select_related("started_by"))
    rows, after = newest_first(found, parse_id(request.GET.get("after")))
    facts = {
        "rows": rows,
        "next": next_link(request, after),
        "form": form,
        "problem": problem,
        "preview": preview,
        "section": "rotations",
    }
    return render(request, "console/campaigns/list.html", facts, status=status)
