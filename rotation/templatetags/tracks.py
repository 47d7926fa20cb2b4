"""Draws the large rotation track of one rotation."""

from django import template
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from keyvault.models import KeyVersion
from rotation.models import Rotation
from rotation.views.track import Track

register = template.Library()
_DELETE_AT = 87.5


@register.simple_tag
def track_drawing(track: Track, rotation: Rotation) -> str:
    """Draw the track large, with what is known of both keys written at their lanes."""
    facts = {
        "track": track,
        "big": True,
        "both": max(min(track.reached, _DELETE_AT) - track.new_from, 0),
        "old_label": _label(_("Old key"), rotation.old_version) or _("No old key"),
        "new_label": _label(_("New key"), rotation.new_version) or _("New key, not made yet"),
    }
    if rotation.retires:
        facts |= {"old_label": _label(_("The key"), rotation.old_version), "new_label": ""}
    return render_to_string("rotation/_track.html", facts)


def _label(word: str, version: KeyVersion | None) -> str:
    if version is None:
        return ""
    tail = f" …{version.tail}" if version.tail else ""
    return f"{word}, version {version.number}{tail}"
