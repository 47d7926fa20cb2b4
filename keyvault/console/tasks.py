"""A task: what exactly do I do? It closes itself when the proof arrives."""

from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import current_member, login_required_page
from keyvault.console.forms.rotations import PasteForm, WaiveForm
from keyvault.console.polling import moved, sign
from keyvault.console.progress import track
from keyvault.console.queries import get_task, state_of, who_may
from keyvault.core.errors import KeyServiceError, NotFound
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.models import Member
from rotation.consumers import holders
from rotation.engine import manual_keys
from rotation.human_tasks import close_review, key_of, rotation_of
from rotation.models import HumanTask, Rotation, Step

_NEEDS = {
    HumanTask.Kind.PASTE: Permission.PASTE,
    HumanTask.Kind.DELETE: Permission.PASTE,
    HumanTask.Kind.CONFIRM: Permission.WAIVE,
    HumanTask.Kind.LOOK: Permission.ROTATE,
    HumanTask.Kind.INCIDENT: Permission.ROTATE,
}


@require_GET
@login_required_page
def show(request: HttpRequest, task_id: int) -> HttpResponse:
    """Show the steps, the link and the one field."""
    task = get_task(current_member(request), task_id)
    if task.rotation is None:
        return render(request, "emails/alert.html", {"task": task, "section": "home"})
    return _render(request, task)


@require_GET
@login_required_page
def live(request: HttpRequest, task_id: int) -> HttpResponse:
    """Answer what changed since the page was drawn."""
    facts = _facts(current_member(request), _of_rotation(request, task_id))
    return moved(request, "console/tasks/_live.html", facts)


@sensitive_post_parameters()
@require_POST
@login_required_page
def paste(request: HttpRequest, task_id: int) -> HttpResponse:
    """Take the key that a person made, and say at once what the vendor thinks of it."""
    task = _of_rotation(request, task_id)
    form = PasteForm(request.POST)
    if not form.is_valid():
        return _render(request, task, status=400, paste_form=form)
    said = form.cleaned_data
    try:
        added = manual_keys.paste_for(
            current_member(request), rotation_of(task), said["secret"], as_it_is=said["as_it_is"]
        )
    except KeyServiceError as error:
        form.hear(error)
        return _render(request, task, problem=error.message, status=error.status, paste_form=form)
    for note in [f"{added.verdict.text} Stored as version {added.version.number}.", *added.notes]:
        messages.success(request, note)
    return redirect("task", task.pk)


@require_POST
@login_required_page
def review(request: HttpRequest, task_id: int) -> HttpResponse:
    """Close the review of what another person did alone."""
    task = get_task(current_member(request), task_id)
    close_review(
        current_member(request), task, request.POST.get("word", "").replace("\x00", "")[:300]
    )
    return redirect("task", task.pk)


def _of_rotation(request: HttpRequest, task_id: int) -> HumanTask:
    """Return the task; NotFound for an alert, which has nothing to fill in and does not move."""
    task = get_task(current_member(request), task_id)
    if task.rotation is None:
        raise NotFound("This alert asks for nothing here: it closes by itself.")
    return task


def _render(
    request: HttpRequest, task: HumanTask, *, problem: str = "", status: int = 200, **changed: Form
) -> HttpResponse:
    facts = {
        **_facts(current_member(request), task),
        "problem": problem,
        "section": "home",
        **changed,
    }
    return render(request, "console/tasks/detail.html", facts, status=status)


def _facts(member: Member, task: HumanTask) -> dict[str, Any]:
    rotation, key, verb = rotation_of(task), key_of(task), _NEEDS[HumanTask.Kind(task.kind)]
    stored = task.kind == HumanTask.Kind.PASTE and rotation.new_version is not None
    left = _left(task, rotation)
    acts = sign(task.closed_at, stored, left)
    return {
        "task": task,
        "rotation": rotation,
        "key": key,
        "steps": _steps(task),
        "can": may(member, verb, key),
        "who": who_may(verb, key),
        "stored": stored,
        "state": state_of(rotation),
        "track": track(rotation),
        "paste_form": PasteForm(),
        "waive_form": WaiveForm(),
        "left": left,
        "acts": acts,
        "seen": sign(acts, task.text, rotation.waiting_text, rotation.step),
    }


def _left(task: HumanTask, rotation: Rotation) -> str:
    """Return for whom a person confirms, who may have changed since the task was written."""
    asked = task.kind == HumanTask.Kind.CONFIRM and rotation.step in (Step.VERIFY, Step.DELETE)
    return holders.names(holders.waited_for(rotation)) if asked else ""


def _steps(task: HumanTask) -> tuple[str, ...]:
    provider = provider_of(key_of(task).account)
    if task.kind == HumanTask.Kind.PASTE:
        return provider.create_steps
    return provider.delete_steps if task.kind == HumanTask.Kind.DELETE else ()
