"""The steps: the only code that touches the vendor and Vault for a rotation.

Each looks first whether its work is done, so a repeat is just a run, and says by its outcome what
is next. Steps write through the claim only, and commit an intent before what cannot be repeated.
"""

from collections.abc import Callable

from rotation.claims import Claim
from rotation.models import Step
from rotation.outcomes import Outcome
from rotation.steps.back import roll_back
from rotation.steps.generate import generate
from rotation.steps.retire import delete
from rotation.steps.switch import update, verify

STEPS: dict[str, Callable[[Claim], Outcome]] = {
    Step.GENERATE: generate,
    Step.UPDATE: update,
    Step.VERIFY: verify,
    Step.DELETE: delete,
    Step.ROLL_BACK: roll_back,
}
