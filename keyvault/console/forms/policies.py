"""The form of a policy: of a key, or of a level above it. An empty field leaves it to the levels."""

from collections.abc import Mapping
from typing import Any

from django import forms

from rotation.models import MissedWindow, PolicyScope, RotationPolicy
from rotation.models.scheduling import SETTINGS
from rotation.scheduling.inheritance import BUILT_IN, Value
from rotation.scheduling.validation import Wish

_HOUR, _MINUTE = 3600, 60
_LONGEST_HOURS, _LONGEST_MINUTES = 24 * 365, 60 * 24 * 60
_OPEN = ("", "Leave it open")
_NONE = "none"


class PolicyForm(forms.Form):
    """When a key rotates by itself; people think in hours and minutes, rows hold seconds."""

    seen = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    every_days = forms.IntegerField(
        required=False, min_value=1, max_value=3650, label="Every … days"
    )
    rule = forms.CharField(
        required=False,
        max_length=200,
        label="Or on the days",
        help_text="Such as “Tue, Thu”, “first Monday”, “15”, or an RRULE.",
    )
    at_time = forms.TimeField(
        required=False,
        label="At",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    time_zone = forms.CharField(
        required=False,
        max_length=60,
        label="Time zone",
        help_text="For example Europe/Berlin.",
    )
    overlap_hours = forms.FloatField(
        required=False,
        min_value=0,
        max_value=_LONGEST_HOURS,
        label="Overlap, hours",
        help_text="How long old and new key both work.",
    )
    quiet_minutes = forms.FloatField(
        required=False,
        min_value=0,
        max_value=_LONGEST_MINUTES,
        label="Quiet, minutes",
        help_text="How long the old key must be unused, where the vendor tells.",
    )
    window = forms.CharField(
        required=False,
        max_length=60,
        label="Only within",
        help_text="Such as Tue-Thu 10:00-16:00; “any” is any time.",
    )
    missed = forms.ChoiceField(
        required=False, choices=[_OPEN, *MissedWindow.choices], label="When a window is missed"
    )
    jitter_minutes = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=24 * 60,
        label="Jitter, minutes",
        help_text="Spreads keys that would all be due at once.",
    )
    max_age_days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=3650,
        label="Maximum age (days)",
        help_text="However the rule falls, no key grows older.",
    )
    standbys = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=5,
        label="Standbys to keep",
        help_text="Made ahead of time and given to nobody; people are asked for what is missing.",
    )
    enabled = forms.ChoiceField(
        required=False,
        choices=[_OPEN, ("on", "Yes"), ("off", "No")],
        label="Rotate by itself",
    )

    def __init__(
        self, *args: Any, above: Mapping[str, Value] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        for name, value in (above or {}).items():
            self._tell(name, value)

    def _tell(self, name: str, value: Value) -> None:
        """Say beside a field what counts as long as it is empty, and who says so."""
        field, shown = self.fields[_FIELDS.get(name, name)], _shown(name, value.value)
        if isinstance(field, forms.ChoiceField):
            known = [tuple(one) for one in field.widget.choices if one[0]]
            field.choices = [("", f"{shown} ({value.source})"), *known]
            return
        source = "" if value.source == BUILT_IN else f", from {value.source}"
        field.widget.attrs["placeholder"] = "" if shown == _NONE else shown
        field.help_text = f"{field.help_text} Empty: {shown}{source}.".strip()

    def wish(self) -> Wish:
        """Return the policy as the doors take it."""
        said = self.cleaned_data
        return Wish(
            every_days=said["every_days"],
            rule=said["rule"].strip() or None,
            at_time=said["at_time"],
            time_zone=said["time_zone"].strip() or None,
            overlap_seconds=_times(said["overlap_hours"], _HOUR),
            quiet_seconds=_times(said["quiet_minutes"], _MINUTE),
            enabled={"on": True, "off": False}.get(said["enabled"]),
            window=said["window"].strip() or None,
            missed=said["missed"] or None,
            jitter_minutes=said["jitter_minutes"],
            max_age_days=said["max_age_days"],
            standbys=said["standbys"],
        )


# Settings whose field has another name, since people think in other units.
_FIELDS = {"overlap_seconds": "overlap_hours", "quiet_seconds": "quiet_minutes"}
_UNITS = {"overlap_seconds": _HOUR, "quiet_seconds": _MINUTE}


def _times(amount: float | None, unit: int) -> int | None:
    return None if amount is None else round(amount * unit)


def _shown(name: str, value: Any) -> str:
    if name in _UNITS:
        return _plain(value / _UNITS[name])
    if name == "at_time":
        return f"{value:%H:%M}"
    if name == "enabled":
        return "Yes" if value else "No"
    if name == "missed":
        return str(MissedWindow(value).label).capitalize()
    return str(value) if value or value == 0 else _NONE


def begin(row: RotationPolicy | PolicyScope | None, seen: str) -> dict[str, Any]:
    """Return what a form begins with, and the mark of what it shows."""
    return {**_values_of(row), "seen": seen}


def refreshed(form: PolicyForm, seen: str, above: Mapping[str, Value]) -> PolicyForm:
    """Return the form as it was sent, with the mark of what is there now: saving replaces that."""
    return PolicyForm({**form.data.dict(), "seen": seen}, above=above)  # type: ignore[attr-defined]


def _values_of(row: RotationPolicy | PolicyScope | None) -> dict[str, Any]:
    """Return what the key or level says itself, and nothing else."""
    if row is None:
        return {}
    names = row.own if isinstance(row, RotationPolicy) else SETTINGS
    found: dict[str, Any] = {}
    for name in names:
        value = getattr(row, name)
        if value is not None and name in _UNITS:
            value = _plain(value / _UNITS[name])
        found[_FIELDS.get(name, name)] = value
    found["enabled"] = {True: "on", False: "off"}.get(found.get("enabled"), "")  # type: ignore[arg-type]
    return found


def _plain(amount: float) -> str:
    """Return 2.0 as "2" and 1.5 as "1.5"."""
    return f"{amount:.4f}".rstrip("0").rstrip(".")
