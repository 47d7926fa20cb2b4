"""Rotations: what is it doing, what is it waiting for, can I trust it?"""

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import current_member, login_required_page, parse_id, query_text
from keyvault.console.forms.rotations import WaiveForm
from keyvault.console.pagination import newest_first, next_link
from keyvault.console.pauses import PauseForm
from keyvault.console.polling import moved, rotation_marks
from keyvault.console.progress import track
from keyvault.console.queries import get_rotation, rotations_of, state_of, who_may
from keyvault.core.errors import BadInput, KeyServiceError, NotFound
from keyvault.inventory import hold_status
from keyvault.models import Member
from rotation.consumers import holders
from rotation.engine import lifecycle
from rotation.models import OPEN_STEPS, Rotation, Step, WaitingFor
from rotation.scheduling import pauses

_SHOW = {"open": list(OPEN_STEPS), "done": [Step.DONE], "failed": [Step.FAILED, Step.CANCELLED]}
# While somebody may still hold the old key although the new one is given out.
_MOVING, _HOLDERS = (Step.UPDATE, Step.VERIFY, Step.DELETE), 200
# What a person can do about each kind of waiting, and with which permission.
_UNBLOCKS = {
    WaitingFor.KEY: Permission.PASTE,
    WaitingFor.DELETION: Permission.PASTE,
    WaitingFor.ADOPTION: Permission.WAIVE,
    WaitingFor.QUIET: Permission.WAIVE,
    WaitingFor.PERSON: Permission.ROTATE,
    WaitingFor.VENDOR: Permission.ROTATE,
    WaitingFor.VAULT: Permission.ROTATE,
}


@require_GET
@login_required_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show rotations, newest first, each with its track."""
    found = _chosen(request, rotations_of(current_member(request)))
    rows, after = newest_first(found, parse_id(request.GET.get("after")))
    facts = {
        "rows": [{"it": one, "state": state_of(one), "track": track(one)} for one in rows],
        "next": next_link(request, after),
        "show": query_text(request, "show"),
        "campaigns": may(current_member(request), Permission.MANAGE),
        "pauses": pauses.visible_pauses(current_member(request)).filter(key=None),
        "pause_form": PauseForm(),
        "section": "rotations",
    }
    return render(request, "console/rotations/list.html", facts)


def _chosen(request: HttpRequest, rotations: QuerySet[Rotation]) -> QuerySet[Rotation]:
    steps = _SHOW.get(query_text(request, "show"))
    return rotations.filter(step__in=steps) if steps else rotations


@require_GET
@login_required_page
def show(request: HttpRequest, rotation_id: int) -> HttpResponse:
    """Show one rotation; its moving part asks `live` what changed."""
    rotation = get_rotation(current_member(request), rotation_id)
    return _render(request, rotation)


@require_GET
@login_required_page
def live(request: HttpRequest, rotation_id: int) -> HttpResponse:
    """Answer what changed since the page was drawn."""
    facts = _facts(current_member(request), get_rotation(current_member(request), rotation_id))
    return moved(request, "console/rotations/_live.html", facts)


def _render(
    request: HttpRequest,
    rotation: Rotation,
    *,
    problem: str = "",
    status: int = 200,
    **changed: Form,
) -> HttpResponse:
    facts = {
        **_facts(current_member(request), rotation),
        "problem": problem,
        "section": "rotations",
        **changed,
    }
    return render(request, "console/rotations/detail.html", facts, status=status)


def _facts(member: Member, rotation: Rotation) -> dict[str, Any]:
    attempts = list(rotation.attempts.order_by("-pk")[:50])
    tasks = list(rotation.tasks.filter(closed_at=None))
    held = holders.of_rotation(rotation)[:_HOLDERS] if rotation.step in _MOVING else []
    newest = [(one.pk, one.count) for one in attempts[:1]]
    marks = (newest, [(one.copies_moved, one.state) for one in held])
    left = holders.names(one for one in held if not (one.moved or one.waived))
    seen, acts = rotation_marks(rotation, [*[task.pk for task in tasks], left], marks)
    verb = _UNBLOCKS.get(WaitingFor(rotation.waiting_for))
    can = {verb.value: may(member, verb, rotation.key) for verb in _VERBS}
    return {
        "rotation": rotation,
        "key": rotation.key,
        "state": state_of(rotation),
        "track": track(rotation),
        "attempts": attempts,
        "tasks": tasks,
        "holders": held,
        "who": who_may(verb, rotation.key) if verb and rotation.is_open else "",
        "can": can,
        "offers": _offers(rotation, can),
        "waive_form": WaiveForm(),
        "left": left,
        "seen": seen,
        "acts": acts,
        "holds": hold_status.holds_on(rotation.key_id) if rotation.is_open else [],
    }


_VERBS = (Permission.ROTATE, Permission.PASTE, Permission.WAIVE)


def _offers(rotation: Rotation, can: dict[str, bool]) -> set[str]:
    """Return the acts that make sense now and that this person may do."""
    waits = rotation.waiting_for
    possible = {
        "waive": can[Permission.WAIVE] and rotation.is_open and lifecycle.may_be_waived(rotation),
        "look": waits == WaitingFor.DELETION and can[Permission.PASTE],
        "retry": waits in (WaitingFor.PERSON, WaitingFor.VENDOR, WaitingFor.VAULT)
        and can[Permission.ROTATE],
        "cancel": lifecycle.can_cancel(rotation)
        and not rotation.cancelling
        and can[Permission.ROTATE],
    }
    return {act for act, fits in possible.items() if fits and rotation.is_open}


@require_POST
@login_required_page
def act(request: HttpRequest, rotation_id: int, deed: str) -> HttpResponse:
    """Cancel, retry, waive or look again; a refusal is said on the rotation's own page."""
    rotation = get_rotation(current_member(request), rotation_id)
    try:
        word = _do(current_member(request), rotation, deed, request.POST.get("reason", ""))
    except KeyServiceError as error:
        if isinstance(error, NotFound):
            raise
        form = WaiveForm(request.POST) if deed == "waive" else WaiveForm()
        fresh = get_rotation(current_member(request), rotation_id)
        return _render(request, fresh, problem=error.message, status=error.status, waive_form=form)
    messages.info(request, word)
    return redirect("rotation", rotation.pk)


def _do(member: Member, rotation: Rotation, deed: str, reason: str) -> str:
    """Do it and return the word for the person."""
    if deed == "cancel":
        lifecycle.cancel(member, rotation)
        return "Cancelling: what was made so far is removed; the key in use stays as it is."
    if deed == "retry":
        lifecycle.retry(member, rotation)
        return "Trying again now."
    if deed == "waive":
        if "\x00" in reason:
            raise BadInput("The reason contains a character that cannot be stored.")
        lifecycle.waive(member, rotation, reason)
        return "Confirmed. It goes on as soon as the overlap has passed."
    if deed == "look":
        lifecycle.ask_again(member, rotation)
        return "Asking the vendor again."
    raise NotFound("There is no such act.")
