"""What one try of a step can come to; the workflow writes it down, steps only say it."""

from dataclasses import dataclass
from datetime import datetime

from rotation.models import Step, WaitingFor


@dataclass(frozen=True)
class Move:
    """The step is done: go on with `step`."""

    step: Step
    text: str = ""


@dataclass(frozen=True)
class Wait:
    """Nothing is wrong, but something must happen first; look again after `seconds`.

    None for `seconds`: only an event (a person, an acknowledgement) makes it due.
    """

    waiting_for: WaitingFor
    text: str
    seconds: float | None


@dataclass(frozen=True)
class Retry:
    """Something failed that may pass; try again after a growing pause, or after `seconds`."""

    waiting_for: WaitingFor
    text: str
    seconds: float | None = None


@dataclass(frozen=True)
class Park:
    """Only a person can mend this; tell one, and look again now and then."""

    text: str


@dataclass(frozen=True)
class GiveUp:
    """This rotation cannot succeed: undo what it did, then end it as failed."""

    text: str


@dataclass(frozen=True)
class Hold:
    """What this needs is known to be away: nothing was tried, and nothing will be before `until`."""

    until: datetime


Outcome = Move | Wait | Retry | Park | GiveUp | Hold
