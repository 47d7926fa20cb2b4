"""Forms about rotations, consumers and vendor accounts."""

from collections.abc import Mapping
from typing import Any

from django import forms

from keyvault import vendors
from keyvault.console.forms.keys import AsItIsForm, SecretField, SeenForm, offer
from keyvault.inventory.account_settings import ACCOUNT_SETTINGS, defaults_of
from keyvault.inventory.catalog import visible_environments
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.inventory.vendor_id_format import LONGEST
from keyvault.models import LIVE_STATES, Environment, KeyVersion, Member, VendorAccount
from rotation.models import Reason

_BY_HAND = (Reason.MANUAL, Reason.LEAK, Reason.LEAVER, Reason.INCIDENT)


class RotateForm(forms.Form):
    """Why a rotation is started by hand."""

    reason = forms.ChoiceField(choices=[(one.value, one.label) for one in _BY_HAND], label="Reason")
    accept_outage = forms.CharField(
        required=False,
        max_length=500,
        label="Why may applications be refused for a moment?",
        help_text="Leave empty to be asked when it is about to happen. This goes on record.",
    )


class PasteForm(AsItIsForm):
    """One secret that a person made at the vendor."""

    secret = SecretField(
        label="New key",
        help_text="It is checked at once and goes straight to Vault; nobody sees it again.",
    )


class VendorIdForm(forms.Form):
    """Which version, and its id; empty takes it away."""

    number = forms.TypedChoiceField(coerce=int, label="Version")
    vendor_id = forms.CharField(
        max_length=LONGEST,
        required=False,
        label="Id at the vendor",
        help_text="As the vendor's list shows it. Empty: none, and a person ends the key there by hand.",
    )

    prefix = "id"

    def __init__(self, versions: list[KeyVersion], *args: Any) -> None:
        super().__init__(*args)
        live = [one for one in versions if one.state in LIVE_STATES and not one.is_linked]
        choices = [(one.number, _named(one)) for one in live]
        self.fields["number"].choices = choices  # type: ignore[attr-defined]
        self.offers = bool(choices)


def _named(version: KeyVersion) -> str:
    tail = f" …{version.tail}" if version.tail else ""
    return f"{version.number}{tail} ({version.get_state_display()}): {version.vendor_id or '–'}"


class WaiveForm(forms.Form):
    """How a person knows that nothing needs the old key any more."""

    reason = forms.CharField(
        max_length=500,
        label="How do you know that nothing uses it any more?",
        help_text="This goes on record under your name.",
    )


class ConsumerForm(forms.Form):
    """A running place of an application."""

    name = forms.CharField(
        max_length=100, help_text="Where it runs, for example “eu-west-1”.", label="Name"
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(), empty_label=None, label="Environment"
    )
    webhook_url = forms.URLField(
        required=False,
        max_length=500,
        assume_scheme="https",
        label="Webhook address",
        help_text="Told at once about a new key, without the key itself. Leave empty to poll only.",
    )

    def __init__(self, by: Member, *args: Any, **options: Any) -> None:
        # Beside the form that changes the application: each input has an id of its own.
        super().__init__(*args, **{"auto_id": "consumer_%s", **options})
        offer(self, "environment", visible_environments(by))


class AccountChangeForm(SeenForm):
    """What may change about an account. Not its API address: keys would go elsewhere."""

    name = forms.CharField(max_length=100, help_text="What people call it.", label="Name")
    dashboard_url = forms.URLField(
        required=False,
        max_length=500,
        assume_scheme="https",
        label="Dashboard address",
        help_text="Where people make and delete keys; tasks link to it.",
    )


class AccountSettingsForm(SeenForm):
    """Limits and timings of an account; an empty field follows the default, which it shows."""

    def __init__(self, account: VendorAccount, data: Mapping[str, Any] | None = None) -> None:
        initial = {**account.settings, "seen": edit_mark(account)}
        super().__init__(data, initial=initial, prefix="set")
        defaults = defaults_of(account)
        for setting in ACCOUNT_SETTINGS:
            kind = forms.IntegerField if setting.whole else forms.FloatField
            default = defaults[setting.name]
            widget = forms.NumberInput(
                attrs={
                    "placeholder": "no limit" if default is None else f"{default:g}",
                    "step": "any",
                }
            )
            self.fields[setting.name] = kind(
                required=False, label=setting.label, help_text=setting.help_text, widget=widget
            )

    def values(self) -> dict[str, int | float | None]:
        """Return the value of each setting; None where the field is empty."""
        return {setting.name: self.cleaned_data[setting.name] for setting in ACCOUNT_SETTINGS}


class CredentialForm(AsItIsForm):
    """Another management credential of an account."""

    credential = SecretField(
        label="New management credential",
        help_text=(
            "It is tried by a harmless call, and must be of the same account at the vendor. The old "
            "one is destroyed here; withdraw it at the vendor afterwards."
        ),
    )


class AccountForm(AsItIsForm):
    """An account at a vendor."""

    name = forms.CharField(max_length=100, help_text="What people call it.", label="Name")
    provider = forms.ChoiceField(label="Vendor", choices=vendors.choices)
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
