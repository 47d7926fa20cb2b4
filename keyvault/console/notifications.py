"""What I was told, how I am told, and who else is."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import (
    current_member,
    login_required_page,
    parse_id,
    require_recent_auth,
)
from keyvault.console.one_time_page import hand_over
from keyvault.console.pagination import newest_first, next_link
from keyvault.core.errors import KeyServiceError
from keyvault.models import Application
from rotation.models import NotificationChannel, NotificationPreference
from rotation.notifications import apprise, channels, inbox, preferences


class WishForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no type when it runs
    """How I am told."""

    class Meta:
        model = NotificationPreference
        fields = ["mail", "only_urgent", "weekly", "time_zone", "quiet_from", "quiet_to"]
        labels = {
            "mail": "By mail too",
            "only_urgent": "Only what is urgent by mail",
            "weekly": "The week, each Monday at 8",
            "time_zone": "Time zone",
            "quiet_from": "Quiet from",
            "quiet_to": "until",
        }
        help_texts = {"quiet_to": "Incidents come at any hour."}
        widgets = {
            "quiet_from": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "quiet_to": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }


def _kinds() -> list[tuple[str, str]]:
    """Return the kinds of hooks that can be told here."""
    return [
        (kind.value, str(kind.label))
        for kind in NotificationChannel.Kind
        if kind != NotificationChannel.Kind.APPRISE or apprise.is_there()
    ]


class HookForm(forms.Form):
    """Who else is told."""

    name = forms.CharField(
        max_length=100, help_text="Such as “#platform” or “pager”.", label="Name"
    )
    kind = forms.ChoiceField(choices=_kinds, label="Kind")
    url = forms.CharField(
        max_length=500,
        label="Address",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
        help_text="It goes to Vault and is never shown again.",
    )
    application = forms.ModelChoiceField(
        Application.objects.all(), required=False, empty_label="Everything", label="About"
    )
    only_urgent = forms.BooleanField(required=False, label="Only what is urgent")

    def __init__(self, *args: Any, **options: Any) -> None:
        # Beside a person's own wishes: each input has an id of its own.
        super().__init__(*args, **{"auto_id": "hook_%s", **options})


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show what I was told; it counts as read then."""
    answer = _page(request)
    inbox.mark_read(current_member(request))
    return answer


@require_POST
@login_required_page
def wish(request: HttpRequest) -> HttpResponse:
    """Choose how I am told."""
    form = WishForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400, wish_form=form)
    try:
        preferences.set_preference(current_member(request), **form.cleaned_data)
    except KeyServiceError as error:
        return _page(request, error.message, error.status, wish_form=form)
    messages.success(request, "From now on you are told so.")
    return redirect("notifications")


@sensitive_post_parameters()
@require_POST
@login_required_page
def add_hook(request: HttpRequest) -> HttpResponse:
    """Have a chat or a program told too; a program's signing secret is shown once."""
    form = HookForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400, hook_form=form)
    # guard: an address waits for its proof in no session
    require_recent_auth(request, back="notifications")
    said = form.cleaned_data
    try:
        made = channels.add_channel(
            current_member(request),
            said["name"],
            NotificationChannel.Kind(said["kind"]),
            said["url"],
            application=said["application"],
            only_urgent=said["only_urgent"],
        )
    except KeyServiceError as error:
        return _page(request, error.message, error.status, hook_form=form)
    if made.secret is None:
        messages.success(request, f"{made.hook} is told from now on. Send it a test.")
        return redirect("notifications")
    facts = {"hook": str(made.hook), "secret": made.secret.reveal(), "section": "notices"}
    return hand_over(request, "console/notifications/channel_added.html", facts)


@require_POST
@login_required_page
def act(request: HttpRequest, hook_id: int, deed: str) -> HttpResponse:
    """Send a hook a test, or remove it."""
    hook = channels.get_channel(current_member(request), hook_id)
    if deed == "remove":
        require_recent_auth(request)
        channels.remove_channel(current_member(request), hook)
        messages.success(request, f"{hook} is told nothing any more.")
    else:
        channels.send_test(current_member(request), hook)
        messages.success(request, "The test is on its way: see the delivery log in a moment.")
    return redirect("notifications")


@require_POST
@login_required_page
def test_mail(request: HttpRequest) -> HttpResponse:
    """Send a test to my own address."""
    channels.send_test(current_member(request))
    messages.success(request, f"A test is on its way to {current_member(request).email}.")
    return redirect("notifications")


def _page(
    request: HttpRequest, problem: str = "", status: int = 200, **changed: forms.BaseForm
) -> HttpResponse:
    by = current_member(request)
    owns = may(by, Permission.MANAGE)
    rows, after = newest_first(inbox.inbox(by), parse_id(request.GET.get("after")))
    facts: dict[str, Any] = {
        "rows": rows,
        "next": next_link(request, after),
        "mail": bool(settings.EMAIL_HOST),
        "owns": owns,
        "hooks": channels.visible_channels(by) if owns else [],
        "log": inbox.log(by)[:20] if owns else [],
        "wish_form": WishForm(instance=preferences.preference_of(by)),
        "hook_form": HookForm() if owns else None,
        "problem": problem,
        "section": "notices",
        **changed,
    }
    return render(request, "console/notifications/list.html", facts, status=status)
