"""Drive a rotation in this process, as a worker would, without waiting out its pauses."""

from collections.abc import Callable

from django.db.models.functions import Now
from django.utils import timezone

from keyvault.models import ApiKey
from rotation.consumers import adoption
from rotation.engine import lifecycle, runner
from rotation.models import Acknowledgement, Outage, Rotation
from tests.waiting import until


def hurry(rotation: Rotation) -> None:
    """Make a paused rotation due now; one that waits for an event stays as it is."""
    due_now(rotation)
    Outage.objects.update(next_try_at=Now())


def due_now(rotation: Rotation) -> None:
    """Make a paused rotation due now, and leave an outage's next probe where it is."""
    Rotation.objects.filter(pk=rotation.pk, due_at__isnull=False).update(due_at=Now())


def step(rotation: Rotation) -> Rotation:
    """Advance the rotation once and return it as it is now."""
    hurry(rotation)
    runner.advance(rotation.pk)
    rotation.refresh_from_db()
    return rotation


def drive(
    rotation: Rotation,
    stop: Callable[[Rotation], bool] = lambda rotation: not rotation.is_open,
    seconds: float = 20.0,
) -> Rotation:
    """Advance until `stop`, or until the rotation waits for an event that nobody sends."""

    def moved() -> bool:
        step(rotation)
        return stop(rotation) or rotation.due_at is None

    try:
        until(moved, seconds, str(rotation))
    except AssertionError as error:
        raise AssertionError(f"{error}: {rotation.step}, {rotation.waiting_text}") from None
    return rotation


def started(by: object, key: object, **options: object) -> Rotation:
    """Start a rotation that nobody waits for: no overlap, no quiet period."""
    rotation, new = lifecycle.start(by, key, **{"overlap_seconds": 0, **options})  # type: ignore[arg-type]
    assert new
    return rotation


def everybody_moves(key_id: int) -> None:
    """Note of each consumer of the key that it proved to hold what is current now."""
    key = ApiKey.objects.select_related("current").get(pk=key_id)
    assert key.current is not None
    for consumer in adoption.not_moved(key, key.current):
        proved = {"version": key.current, "at": timezone.now()}
        Acknowledgement.objects.update_or_create(consumer=consumer, key=key, defaults=proved)
