"""Forms about rotations, policies, consumers and vendor accounts."""

from typing import Any

from django import forms
from django.conf import settings

from keyvault.forms import SecretField, offer
from keyvault.inventory import visible_environments
from keyvault.models import Environment, Member
from rotation import providers
from rotation.models import Reason, RotationPolicy
from rotation.policies import Wish

_HOUR, _MINUTE = 3600, 60
_LONGEST_HOURS, _LONGEST_MINUTES = 24 * 365, 60 * 24 * 60
_BY_HAND = (Reason.MANUAL, Reason.LEAK, Reason.LEAVER, Reason.INCIDENT)


class RotateForm(forms.Form):
    """Why a rotation is started by hand."""

    reason = forms.ChoiceField(choices=[(one.value, one.label) for one in _BY_HAND])
    accept_outage = forms.CharField(
        required=False,
        max_length=500,
        label="Why may applications be refused for a moment?",
        help_text="Leave empty to be asked when it is about to happen. This goes on record.",
    )


class PasteForm(forms.Form):
    """One secret that a person made at the vendor."""

    secret = SecretField(
        label="New key",
        help_text="It is checked at once and goes straight to Vault; nobody sees it again.",
    )


class WaiveForm(forms.Form):
    """How a person knows that nothing needs the old key any more."""

    reason = forms.CharField(
        max_length=500,
        label="How do you know that nothing uses the old key?",
        help_text="This goes on record under your name.",
    )


class PolicyForm(forms.Form):
    """When a key rotates by itself; people think in hours and minutes, rows hold seconds."""

    every_days = forms.IntegerField(min_value=1, max_value=3650, label="Every … days", initial=90)
    at_time = forms.TimeField(
        label="At", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"), initial="03:00"
    )
    time_zone = forms.CharField(
        max_length=60, label="Time zone", help_text="For example Europe/Berlin."
    )
    overlap_hours = forms.FloatField(
        min_value=0,
        max_value=_LONGEST_HOURS,
        label="Overlap, hours",
        help_text="How long old and new key both work.",
    )
    quiet_minutes = forms.FloatField(
        min_value=0,
        max_value=_LONGEST_MINUTES,
        label="Quiet, minutes",
        help_text="How long the old key must be unused, where the vendor tells.",
    )
    window = forms.CharField(
        required=False,
        max_length=60,
        label="Only within",
        help_text="Such as Tue-Thu 10:00-16:00; empty is any time.",
    )
    enabled = forms.BooleanField(required=False, label="Rotate by itself", initial=True)

    def wish(self) -> Wish:
        """Return the policy as the door takes it."""
        said = self.cleaned_data
        return Wish(
            every_days=said["every_days"],
            at_time=said["at_time"],
            time_zone=said["time_zone"].strip(),
            overlap_seconds=round(said["overlap_hours"] * _HOUR),
            quiet_seconds=round(said["quiet_minutes"] * _MINUTE),
            enabled=said["enabled"],
            window=said["window"].strip(),
        )


def policy_values(policy: RotationPolicy | None) -> dict[str, Any]:
    """Return what the policy form begins with: the policy, or the installation's defaults."""
    if policy is None:
        return {
            "time_zone": settings.TIME_ZONE,
            "overlap_hours": _plain(settings.DEFAULT_OVERLAP_SECONDS / _HOUR),
            "quiet_minutes": _plain(settings.DEFAULT_QUIET_SECONDS / _MINUTE),
        }
    return {
        "every_days": policy.every_days,
        "at_time": policy.at_time,
        "time_zone": policy.time_zone,
        "overlap_hours": _plain(policy.overlap_seconds / _HOUR),
        "quiet_minutes": _plain(policy.quiet_seconds / _MINUTE),
        "enabled": policy.enabled,
        "window": policy.window,
    }


def _plain(amount: float) -> str:
    """Return 2.0 as "2" and 1.5 as "1.5"."""
    return f"{amount:.4f}".rstrip("0").rstrip(".")


class ConsumerForm(forms.Form):
    """A running place of an application."""

    name = forms.CharField(max_length=100, help_text="Where it runs, for example “eu-west-1”.")
    environment = forms.ModelChoiceField(Environment.objects.none(), empty_label=None)
    webhook_url = forms.URLField(
        required=False,
        max_length=500,
        assume_scheme="https",
        label="Webhook address",
        help_text="Told at once about a new key, without the key itself. Leave empty to poll only.",
    )

    def __init__(self, by: Member, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        offer(self, "environment", visible_environments(by))


class AccountForm(forms.Form):
    """An account at a vendor."""

    name = forms.CharField(max_length=100, help_text="What people call it.")
    provider = forms.ChoiceField(label="Vendor", choices=providers.choices)
    base_url = forms.URLField(
        max_length=500,
        assume_scheme="https",
        label="API address",
        help_text="Where its API answers, without a path unless the vendor says so.",
    )
    dashboard_url = forms.URLField(
        required=False,
        max_length=500,
        assume_scheme="https",
        label="Dashboard address",
        help_text="Where people make and delete keys; tasks link to it.",
    )
    management_credential = SecretField(
        required=False,
        label="Management credential",
        help_text="Only for vendors that make keys by API. It goes straight to Vault.",
    )
