"""Plan keys anew after freezes changed: the first of them at once, the rest by the worker.

A rotation that is due while a freeze lasts does not begin, whether its key was planned anew or not; so
what the worker has not reached yet shows an older date for a while, and nothing worse.
"""

from django.db import transaction

from keyvault.models import ApiKey, Environment
from rotation.models import ReplanProgress
from rotation.scheduling import inheritance


def replan(
    environment: Environment | None, *, strict: bool = True, at_once: int = inheritance.AT_ONCE
) -> None:
    """Compute anew when each key of the environment (or of all) is due, in the caller's transaction.

    `at_once` keys are planned now, the worker carries on with the rest. If strict, raises BadInput for
    a key among the first whose policy cannot be kept then; else, and for the rest, people are asked.
    """
    _carry(environment, 0, at_once, strict=strict)


def carry_on(at_once: int = inheritance.A_BATCH) -> bool:
    """Carry on with keys that are not planned anew yet; returns whether there may be more."""
    if not ReplanProgress.objects.exists():
        return False
    with transaction.atomic():
        # Policies are held before the row is locked, in the order of whoever changes a freeze.
        # guard: replanning reads under the lock
        inheritance.lock_policies()
        one = ReplanProgress.objects.select_related("environment").order_by("pk").first()
        return one is not None and _carry(one.environment, one.applied_to, at_once, strict=False)


def _carry(environment: Environment | None, after: int, at_once: int, *, strict: bool) -> bool:
    """Plan the next keys anew, and note how far that came unless there are no more."""
    keys = ApiKey.objects.filter(policy__isnull=False, pk__gt=after)
    if environment is not None:
        keys = keys.filter(environment=environment)
    numbers = list(keys.order_by("pk").values_list("pk", flat=True)[:at_once])
    inheritance.recompute_policies(ApiKey.objects.filter(pk__any=numbers), strict=strict)
    if len(numbers) < at_once:
        ReplanProgress.objects.filter(environment=environment).delete()
        return False
    ReplanProgress.objects.update_or_create(
        environment=environment, defaults={"applied_to": numbers[-1]}
    )
    return True
