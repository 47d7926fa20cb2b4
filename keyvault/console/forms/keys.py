"""Forms about keys and people. A secret goes in by a field that is never filled in again."""

import re
from typing import Any

from django import forms
from django.utils import timezone

from keyvault.access.permissions import visible_applications
from keyvault.core.dates import moment
from keyvault.inventory.catalog import visible_accounts, visible_environments
from keyvault.inventory.keys import NewKey
from keyvault.inventory.placeholders import Question
from keyvault.models import Application, Environment, Member, VendorAccount

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class SecretField(forms.CharField):
    """Takes a pasted secret as it comes; the door cleans it. Never shown again, never kept."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(
            render_value=False,
            attrs={"autocomplete": "off", "spellcheck": "false", "data-secret": ""},
        )
        super().__init__(strip=False, widget=widget, **options)


class ExpiryField(forms.DateTimeField):
    """When a key ends, in the page's zone; a date alone ends at its start in UTC, as everywhere."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> Any:
        """Return the moment, in UTC."""
        if isinstance(value, str) and _DATE.fullmatch(value.strip()):
            try:
                return moment(value)
            except ValueError:
                raise forms.ValidationError(
                    self.error_messages["invalid"], code="invalid"
                ) from None
        return super().to_python(value)


class AsItIsForm(forms.Form):
    """A form that takes a secret; whether it is really so is asked only where it seldom is."""

    as_it_is = forms.BooleanField(
        required=False,
        widget=forms.HiddenInput,
        label="It is really so, and a key of this vendor",
        help_text="Paste the key again: it was not kept. It is sent to the vendor to be checked.",
    )

    @property
    def asks(self) -> bool:
        """Return whether the question is shown."""
        return not self.fields["as_it_is"].widget.is_hidden

    def hear(self, error: Exception) -> None:
        """Show the question if the error is one that a person may answer."""
        if isinstance(error, Question):
            self.fields["as_it_is"].widget = forms.CheckboxInput()


class RegisterForm(AsItIsForm):
    """A key that exists at the vendor already."""

    account = forms.ModelChoiceField(
        VendorAccount.objects.none(),
        help_text="The vendor account that issued the key.",
        label="Account",
    )
    environment = forms.ModelChoiceField(Environment.objects.none(), label="Environment")
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        empty_label="Nobody's but mine",
        help_text=(
            "The program that uses it. “Nobody's but mine” makes it a key that you alone "
            "can reveal."
        ),
        label="Application",
    )
    name = forms.CharField(
        max_length=100,
        help_text="What people call it, for example “Video upload”.",
        label="Name",
    )
    secret = SecretField(
        label="Key",
        help_text="Paste the whole key. It is checked with the vendor and goes straight to Vault.",
    )
    vendor_id = forms.CharField(
        max_length=200,
        required=False,
        label="Id at the vendor",
        help_text="If the vendor's list shows one: with it, the old key can be deleted by program.",
    )
    expires_at = ExpiryField(required=False, label="Expires")
    purpose = forms.CharField(
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What it is for; whoever must decide about it later will thank you.",
        label="Purpose",
    )
    unchecked = forms.BooleanField(
        required=False,
        label="Record it even if the vendor cannot be asked now",
        help_text="A key that the vendor refuses is never recorded.",
    )

    def __init__(self, by: Member, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.by = by
        offer(self, "account", visible_accounts(by))
        offer(self, "environment", visible_environments(by))
        offer(self, "application", visible_applications(by))
        zone = timezone.get_current_timezone_name()
        self.fields["expires_at"].help_text = f"In {zone} time. Leave empty if no end is known."

    def new_key(self) -> NewKey:
        """Return what was said of the key, without its secret."""
        said = self.cleaned_data
        return NewKey(
            account=said["account"],
            environment=said["environment"],
            application=said["application"],
            member=None if said["application"] else self.by,
            name=said["name"],
            purpose=" ".join(said["purpose"].split()),
            expires_at=said["expires_at"],
            vendor_id=said["vendor_id"],
        )

    def clean_expires_at(self) -> Any:
        """Refuse an end that has passed: such a key cannot be current."""
        ends = self.cleaned_data["expires_at"]
        if ends and ends <= timezone.now():
            raise forms.ValidationError("This time has passed. Nothing was stored.")
        return ends


class RevealForm(forms.Form):
    """Why do you need the secret, and can it wait for a second person?"""

    reason = forms.CharField(
        max_length=300, label="Why do you need it?", help_text="Auditors will read this."
    )
    break_glass = forms.BooleanField(
        required=False,
        label="Nobody else can be reached: I act alone",
        help_text="Everybody who can see this key is told at once, and somebody else must review it.",
    )


class SeenForm(forms.Form):
    """A form about something that others may change meanwhile; it carries what it shows."""

    seen = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)


class ApplicationForm(SeenForm):
    """A program that uses keys."""

    name = forms.CharField(max_length=100, label="Name")
    team = forms.CharField(
        max_length=100, required=False, help_text="Who looks after it.", label="Team"
    )
    contact = forms.EmailField(
        required=False, help_text="Where to write when a key of it is late.", label="Contact"
    )


class EnvironmentForm(SeenForm):
    """Where keys are used: development, production, or another."""

    name = forms.CharField(max_length=100, help_text="Such as “Staging”.", label="Name")
    is_production = forms.BooleanField(
        required=False,
        label="This is production",
        help_text="Marked everywhere; rules about a second person can ask for it.",
    )
    position = forms.IntegerField(
        min_value=0,
        max_value=32767,
        initial=0,
        label="Place in lists",
        help_text="Lowest first.",
    )


def offer(form: forms.Form, name: str, rows: Any) -> None:
    """Let the form's field offer these rows, which depend on who is asking."""
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = rows
