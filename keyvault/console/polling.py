"""Parts of a page that move by themselves.

The page asks again for what changed, naming what it shows. Nothing new: 204, and the page is left
alone. Forms are replaced only when what can be done has changed, so typing is never interrupted.
"""

import zlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from rotation.models import Rotation


def sign(*facts: object) -> str:
    """Return a short mark that differs when any of the facts does."""
    return f"{zlib.crc32(repr(facts).encode()):08x}"


def rotation_marks(rotation: Rotation, tasks: list[object], attempts: object) -> tuple[str, str]:
    """Return the marks of what is shown of a rotation, and of what can be done about it."""
    acts = sign(rotation.step, rotation.waiting_for, rotation.cancelling, rotation.waived_at, tasks)
    shown = sign(
        acts,
        rotation.waiting_text,
        rotation.old_version_id,
        rotation.new_version_id,
        rotation.verified_at,
        rotation.adopted_at,
        rotation.old_gone_at,
        rotation.old_version.checked_at if rotation.old_version else None,
        rotation.reason,
        attempts,
    )
    return shown, acts


def moved(request: HttpRequest, template: str, facts: dict[str, Any]) -> HttpResponse:
    """Answer a page that asks what changed: nothing, the status, or status and forms."""
    if request.GET.get("seen") == facts["seen"]:
        return HttpResponse(status=204)
    facts["swap_acts"] = request.GET.get("acts") != facts["acts"]
    return render(request, template, facts)
