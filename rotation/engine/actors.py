"""Who acts when a rotation moves by itself: the system, for a named rotation, on someone's behalf."""

from keyvault.audit.actors import Actor, system_actor
from rotation.models import Rotation


def worker_actor(rotation: Rotation) -> Actor:
    """Return the actor for background work on this rotation."""
    behalf = str(rotation.requested_by) if rotation.requested_by else "schedule"
    return system_actor(f"rotation {rotation.pk}", behalf)
