"""Rotate a key; with --wait, say each move and end with what came of it.

Exit codes with --wait: 0 done, 1 failed or cancelled, 3 a person must act, 4 the time is up.
"""

import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.urls import reverse
from django.utils import timezone

from keyvault.core.numbers import whole
from keyvault.management.base import ServiceCommand, acting_member, add_by, facts, find_key
from rotation.engine.lifecycle import start
from rotation.models import Attempt, HumanTask, Reason, Rotation, Step

DONE, FAILED, PERSON, TIME_UP = 0, 1, 3, 4
_LOOK_EVERY = 0.5
_LONGEST_SECONDS = 365 * 86400
REASONS = [reason.value for reason in Reason if reason != Reason.SCHEDULE]


class Command(ServiceCommand):
    help = "Start a rotation of a key, or join the open one; --wait follows it to the end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="Number, or account/environment/name.")
        parser.add_argument("--reason", choices=REASONS, default=Reason.MANUAL.value)
        parser.add_argument(
            "--overlap",
            type=_seconds,
            metavar="SECONDS",
            help="How long old and new secret live side by side; else as the policy says.",
        )
        parser.add_argument(
            "--accept-outage",
            default="",
            metavar="REASON",
            help="Agree, for this reason, that a vendor without overlap ends the old key at once.",
        )
        parser.add_argument("--wait", action="store_true", help="Follow the rotation to its end.")
        parser.add_argument(
            "--timeout",
            type=_seconds,
            metavar="SECONDS",
            default=3600,
            help="With --wait: stop waiting then (3600); the rotation itself goes on.",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        key = find_key(by, options["key"])
        rotation, new = start(
            by,
            key,
            Reason(options["reason"]),
            overlap_seconds=options["overlap"],
            accept_outage=options["accept_outage"],
        )
        tell = (lambda _: None) if options["json"] else self.stdout.write
        tell(f"Rotation {rotation.pk} of {key} {'started' if new else 'was open: joined it'}.")
        code = follow(rotation, options["timeout"], tell) if options["wait"] else DONE
        answer = _answer(rotation, new, code)
        self.say(options, answer, _told(answer) if options["wait"] else "It goes on by itself.")
        sys.exit(code)


def follow(rotation: Rotation, seconds: float, tell: Callable[[str], object]) -> int:
    """Tell each move of the rotation until it ends, needs a person, or `seconds` have passed.

    Returns the exit code; the rotation is as it was last seen.
    """
    deadline = time.monotonic() + seconds
    told = 0
    while True:
        # The state first: what it came by is written in the same transaction or an earlier one.
        rotation.refresh_from_db()
        needs_person = _open_task(rotation) is not None
        told = _tell_new(rotation, told, tell)
        if not rotation.is_open:
            return DONE if rotation.step == Step.DONE else FAILED
        if needs_person:
            return PERSON
        if time.monotonic() >= deadline:
            return TIME_UP
        time.sleep(min(_LOOK_EVERY, max(0.0, deadline - time.monotonic())))


def _tell_new(rotation: Rotation, told: int, tell: Callable[[str], object]) -> int:
    for attempt in Attempt.objects.filter(rotation=rotation, pk__gt=told).order_by("pk"):
        when = f"{timezone.localtime(attempt.first_at):%H:%M:%S}"
        tell(f"{when}  {attempt.step:<9}  {attempt.outcome:<5}  {attempt.text}".rstrip())
        told = attempt.pk
    return told


def _open_task(rotation: Rotation) -> HumanTask | None:
    return HumanTask.objects.filter(rotation=rotation, closed_at__isnull=True).first()


def _answer(rotation: Rotation, new: bool, code: int) -> dict[str, Any]:
    task = _open_task(rotation) if code == PERSON else None
    return {
        "rotation": rotation.pk,
        "key": rotation.key_id,
        "name": str(rotation.key),
        "new": new,
        "step": rotation.step,
        "waiting_for": rotation.waiting_for,
        "waiting_text": rotation.waiting_text,
        "outcome": rotation.outcome,
        "version": rotation.new_version.number if rotation.new_version else None,
        "task": _task(task) if task else None,
    }


def _task(task: HumanTask) -> dict[str, Any]:
    return {
        "id": task.pk,
        "kind": task.kind,
        "title": str(task),
        "text": task.text,
        "url": settings.BASE_URL + reverse("task", args=[task.pk]),
    }


def _told(answer: dict[str, Any]) -> str:
    """Return how it stands, for people; what a person must do comes last."""
    task = answer["task"]
    shown = {"step": answer["step"], "outcome": answer["outcome"] or answer["waiting_text"]}
    if task:
        shown |= {"a person must": task["title"], "because": task["text"], "at": task["url"]}
    return facts({name: value for name, value in shown.items() if value})


def _seconds(text: str) -> int:
    seconds = whole(text, _LONGEST_SECONDS)
    if seconds is None:
        raise ArgumentTypeError(
            f"“{text[:20]}” is not a number of seconds from 0 to {_LONGEST_SECONDS}"
        )
    return seconds
