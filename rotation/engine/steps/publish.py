"""Update: make the new version current and notify its consumers."""

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.inventory import versions
from rotation.consumers import webhooks
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Move, Outcome
from rotation.models import Step


def update(claim: Claim) -> Outcome:
    """Make the new version current and put the messages to consumers into the outbox: one commit."""
    rotation, version = claim.rotation, claim.rotation.new_version
    assert version is not None
    if rotation.key.current_id != version.pk:
        reached("publish.before")
        with claim.transaction():
            versions.publish(version)
            claim.write(published_at=db_clock.now())
            webhooks.enqueue(rotation.key, version)
            record(Action.VERSION_PUBLISHED, worker_actor(rotation), version)
        reached("publish.after")
    return Move(Step.VERIFY, f"Version {version.number} is what consumers get from now on.")
