"""Advance one rotation: claim it, run its step, write the outcome under the fence, and go on."""

import logging
import time

from django.db import IntegrityError
from django.db.models.functions import Now

from keyvault.audit.log import AuditUnavailable
from keyvault.core.errors import Conflict, KeyServiceError
from keyvault.vault.secret_store import StoreUnavailable
from keyvault.vendors.base import VendorError
from rotation.engine import circuit_breaker, stranded_versions
from rotation.engine.lease import Claim, ClaimLost, claim
from rotation.engine.outcomes import Outcome, Park, Retry
from rotation.engine.steps import STEPS
from rotation.engine.transitions import apply_outcome
from rotation.models import OPEN_STEPS, Rotation, WaitingFor
from rotation.queue import nudge

log = logging.getLogger(__name__)

_MOST_LOOPS, _LONGEST_RUN = 20, 30.0
_MOST_LOST_CLAIMS = 3
_REPLACE = "Replace the management credential on the account's page; this goes on by itself."


def advance(rotation_id: int) -> None:
    """Move a rotation as far as it goes now; nothing when it is not due or held by another."""
    stop_at = time.monotonic() + _LONGEST_RUN
    for _loop in range(_MOST_LOOPS):
        held = claim(rotation_id)
        if held is None:
            return
        try:
            again = apply_outcome(held, _try(held))
        except ClaimLost:
            log.info("claim lost", extra={"rotation": rotation_id})
            return
        if not again or time.monotonic() > stop_at:
            break
    if Rotation.objects.filter(pk=rotation_id, step__in=OPEN_STEPS, due_at__lte=Now()).exists():
        nudge(rotation_id)


def _try(held: Claim) -> Outcome:
    """Run the step once; an error becomes the outcome that its kind asks for."""
    rotation = held.rotation
    # guard: deaths are counted
    if rotation.lost_claims >= _MOST_LOST_CLAIMS:
        return Park(
            f"The worker died {rotation.lost_claims} times in a row in this step. Look at its log, "
            "then choose “Try again”."
        )
    try:
        return circuit_breaker.defer_while_open(rotation) or STEPS[rotation.step](held)
    except StoreUnavailable as error:
        return Retry(WaitingFor.VAULT, error.message)
    except VendorError as error:
        if error.retryable:
            return Retry(WaitingFor.VENDOR, error.text, error.retry_after)
        return Park(f"{error.text} {_REPLACE}" if error.status == 401 else error.text)
    except IntegrityError as error:
        # guard: rule of the database explained
        return stranded_versions.explain(held, error)
    except (AuditUnavailable, Conflict) as error:
        return Retry(WaitingFor.NOTHING, error.message)
    except KeyServiceError as error:
        return Park(error.message)
