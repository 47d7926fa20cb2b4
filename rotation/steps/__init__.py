"""The steps: the only code that touches the vendor and Vault for a rotation.

Each looks first whether its work is done, so a repeat is just a run, and says by its outcome what
is next. Steps write through the claim only, and commit an intent before what cannot be repeated.
"""

from collections.abc import Callable

from rotation.claims import Claim
from rotation.models import Step
from rotation.outcomes import Outcome
from rotation.steps import ending
from rotation.steps.back import roll_back
from rotation.steps.generate import generate
from rotation.steps.retire import delete
from rotation.steps.switch import update, verify

Run = Callable[[Claim], Outcome]


def _or_retire(step: Step, rotate: Run, retire: Run) -> tuple[str, Run]:
    """Return the step that a claimed run takes: one that retires its key brings no new version."""
    return step, lambda claim: (retire if claim.rotation.retires else rotate)(claim)


STEPS: dict[str, Run] = {
    **dict(
        [
            _or_retire(Step.GENERATE, generate, ending.begin),
            _or_retire(Step.VERIFY, verify, ending.verify),
            _or_retire(Step.DELETE, delete, ending.delete),
        ]
    ),
    Step.UPDATE: update,
    Step.ROLL_BACK: roll_back,
}
