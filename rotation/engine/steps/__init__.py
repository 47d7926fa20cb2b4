"""The steps: the only code that touches the vendor and Vault for a rotation.

Each looks first whether its work is done, so a repeat is just a run, and says by its outcome what
is next. Steps write through the claim only, and commit an intent before what cannot be repeated.
"""

from collections.abc import Callable

from rotation.engine.lease import Claim
from rotation.engine.outcomes import Outcome
from rotation.engine.steps import retire_key
from rotation.engine.steps.delete_old_key import delete
from rotation.engine.steps.generate import generate
from rotation.engine.steps.publish import update
from rotation.engine.steps.rollback import roll_back
from rotation.engine.steps.verify import verify
from rotation.models import Step

Run = Callable[[Claim], Outcome]


def _or_retire(step: Step, rotate: Run, retire: Run) -> tuple[str, Run]:
    """Return the step that a claimed run takes: one that retires its key brings no new version."""
    return step, lambda claim: (retire if claim.rotation.retires else rotate)(claim)


STEPS: dict[str, Run] = {
    **dict(
        [
            _or_retire(Step.GENERATE, generate, retire_key.begin),
            _or_retire(Step.VERIFY, verify, retire_key.verify),
            _or_retire(Step.DELETE, delete, retire_key.delete),
        ]
    ),
    Step.UPDATE: update,
    Step.ROLL_BACK: roll_back,
}
