"""What templates need to show times, states, bars and audit rows alike on every page."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.template.defaultfilters import date as format_date
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from keyvault.audit.models import Action, AuditEvent
from keyvault.console.progress import Track
from keyvault.models import KeyVersion
from rotation.models import Rotation

register = template.Library()

_OVER = mark_safe('<rect class="over" x="77%" width="23%" height="6" rx="3"/>')

# Drawn for a box of 16 by 16; strokes take the colour of the text.
ICONS = {
    "ok": "M3 8.5 6.5 12 13 4.5",
    "bad": "M4 4l8 8M12 4l-8 8",
    "wait": "M8 4.5V8l2.5 2M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8",
    "move": "M2.5 8a5.5 5.5 0 0 1 9.6-3.6L13.5 6M13.5 2.5V6H10"
    "M13.5 8a5.5 5.5 0 0 1-9.6 3.6L2.5 10M2.5 13.5V10H6",
    "hand": "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 5v3.8M8 11.2v.1",
    "off": "M3.5 8h9",
    "spare": "M8 2.2 13.8 8 8 13.8 2.2 8z",
    "key": "M10.5 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M8 8l-5.5 5.5M4.5 11.5 6.5 13.5",
    "out": "M6 3H3v10h10v-3M9 2.5h4.5V7M13.5 2.5 7.5 8.5",
    "copy": "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
    "search": "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.5 10.5l3.5 3.5",
}

# State -> tone (colour), icon and word; the tone never stands alone.
STATES = {
    "current": ("good", "ok", "Current"),
    "standby": ("info", "spare", "Standby"),
    "pending": ("info", "move", "Pending"),
    "previous": ("warn", "wait", "Previous"),
    "deleted": ("calm", "off", "Deleted"),
    "discarded": ("calm", "off", "Discarded"),
    "valid": ("good", "ok", "Valid"),
    "refused": ("bad", "bad", "Refused"),
    "cannot_tell": ("warn", "hand", "Cannot tell"),
    "": ("calm", "off", "Not asked yet"),
    "done": ("good", "ok", "Done"),
    "failed": ("bad", "bad", "Failed"),
    "cancelled": ("calm", "off", "Cancelled"),
    "moving": ("info", "move", "Moving"),
    "waiting": ("warn", "wait", "Waiting"),
    "person": ("warn", "hand", "Needs a person"),
    "overdue": ("bad", "wait", "Overdue"),
    "expired": ("bad", "bad", "Expired"),
    "expiring": ("warn", "wait", "Expires soon"),
    "revoked": ("calm", "off", "Revoked"),
    "acknowledged": ("good", "ok", "Acknowledged"),
    "behind": ("warn", "wait", "Old key"),
    "never": ("calm", "off", "Never fetched"),
    "denied": ("bad", "bad", "Denied"),
    "ok": ("good", "ok", "Ok"),
    "away": ("bad", "bad", "Away"),
    "held": ("warn", "hand", "On hold"),
    "late": ("warn", "wait", "Late"),
    "schedule": ("calm", "wait", "Waits its turn"),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon that says nothing to screen readers: a word stands beside it."""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="{}"/></svg>',
        ICONS[name],
    )


@register.simple_tag
def status_badge(name: str, text: str = "") -> SafeString:
    """Show a state as word, icon and colour; `text` replaces the word."""
    tone, drawn, word = STATES.get(name, ("calm", "off", name.capitalize()))
    return format_html('<span class="state {}">{}{}</span>', tone, icon(drawn), text or word)


@register.filter
def relative_time(at: datetime | None) -> SafeString:
    """Show a time relative to now, with the exact local time and UTC on hover."""
    if not at:  # also the empty text that a template gives for what is missing
        return mark_safe('<span class="dim">–</span>')
    utc = at.astimezone(UTC)
    exact = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    local = format_date(timezone.localtime(at), "Y-m-d H:i:s T")
    title = exact if local == exact else f"{local} · {exact}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', utc.isoformat(), title, relative(at)
    )


@register.filter
def expiry(at: datetime | None) -> SafeString:
    """Show when a key ends: the time left, and the UTC time itself; nothing known is no "never"."""
    if not at:  # also the empty text that a template gives for what is missing
        return mark_safe('<span class="dim">no expiry known</span>')
    exact = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return format_html('{} <span class="fixed dim">{}</span>', relative_time(at), exact)


def relative(at: datetime) -> str:
    """Return how far a time is from now, in the largest unit that fits: "3 h ago", "in 12 d"."""
    seconds = (at - timezone.now()).total_seconds()
    size = abs(seconds)
    for limit, unit, length in (
        (90, "s", 1),
        (90 * 60, "min", 60),
        (36 * 3600, "h", 3600),
        (120 * 86400, "d", 86400),
    ):
        if size < limit:
            amount = f"{int(size // length)} {unit}"
            break
    else:
        amount = f"{int(size // (30.44 * 86400))} months"
    if size < 5:
        return "now"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


@register.filter
def utc_time(at: datetime | None) -> SafeString:
    """Show the exact UTC time of a proof, to the second."""
    if not at:  # also the empty text that a template gives for what is missing
        return mark_safe('<span class="dim">not yet</span>')
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" class="mono" data-exact title="{}">{}</time>',
        utc.isoformat(),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC, {relative(at)}",
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
    )


@register.filter
def duration(seconds: int) -> str:
    """Return a length of time in words: 5400 is "1.5 hours"."""
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            amount = f"{seconds / length:.1f}".removesuffix(".0")
            return f"{amount} {unit}{'' if amount == '1' else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


@register.simple_tag
def age_bar(since: datetime | None, due: datetime | None) -> SafeString:
    """Draw a key's age as a bar that fills toward its due date; overdue spills over in red."""
    if not since:
        return mark_safe('<span class="dim">–</span>')
    now = timezone.now()
    age = f"{max((now - since).days, 0)} d"
    if not due:
        return format_html(
            '<span class="age"><span class="num">{}</span> <span class="dim">no plan</span></span>',
            age,
        )
    share = (now - since) / max(due - since, timedelta(seconds=1))
    text = f"{age} old, due {relative(due)}"
    # When overdue, the last quarter of the bar is what is too much.
    planned = 75 if share > 1 else 100
    return format_html(
        '<span class="age"><svg class="agebar" role="img" aria-label="{}"><title>{}</title>'
        '<rect class="way" width="{}%" height="6" rx="3"/>'
        '<rect class="gone" width="{}%" height="6" rx="3"/>{}</svg>'
        '<span class="num">{}</span></span>',
        text,
        text,
        planned,
        f"{min(max(share, 0.0), 1.0) * planned:.1f}",
        _OVER if share > 1 else "",
        age,
    )


@register.filter
def action_label(event: AuditEvent) -> str:
    """Return an audit row's action in words."""
    if event.action in Action.values:
        return str(Action(event.action).label.capitalize())
    return event.action


@register.filter
def event_details(event: AuditEvent) -> str:
    """Return what an audit row says beside the action: the reason and the details."""
    said: dict[str, Any] = json.loads(event.payload)
    detail = dict(said.get("detail") or {})
    parts = [said.get("reason") or ""]
    if "was" in detail and "step" in detail:
        parts.insert(0, f"{detail.pop('was')} → {detail.pop('step')}".replace("_", " "))
    parts += [f"{name.replace('_', ' ')} {value}" for name, value in detail.items() if value]
    return " · ".join(part for part in parts if part)[:400]


@register.filter
def split_words(text: str) -> list[str]:
    """Return the words of a text, to go through them."""
    return text.split()


@register.filter
def dict_get(values: dict[str, Any], name: str) -> Any:
    """Return the value under a name that is itself a variable."""
    return values.get(name, "")


_DELETE_AT = 87.5


@register.simple_tag
def rotation_progress(track: Track, rotation: Rotation) -> str:
    """Draw the track large, with what is known of both keys written at their lanes."""
    facts = {
        "track": track,
        "big": True,
        "both": max(min(track.reached, _DELETE_AT) - track.new_from, 0),
        "old_label": _label("Old key", rotation.old_version) or "No old key",
        "new_label": _label("New key", rotation.new_version) or "New key, not made yet",
    }
    if rotation.retires:
        facts |= {"old_label": _label("The key", rotation.old_version), "new_label": ""}
    return render_to_string("console/parts/_progress.html", facts)


def _label(word: str, version: KeyVersion | None) -> str:
    if version is None:
        return ""
    tail = f" …{version.tail}" if version.tail else ""
    return f"{word}, version {version.number}{tail}"
