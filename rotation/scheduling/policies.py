"""Set a key's rotation policy."""

from django.db import transaction

from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Denied
from keyvault.inventory.edit_conflicts import require_unchanged
from keyvault.models import ApiKey, Member
from rotation.models import RotationPolicy
from rotation.models.scheduling import SETTINGS
from rotation.scheduling import inheritance, planner
from rotation.scheduling.validation import Wish, require_possible, require_rhythm

__all__ = ["Wish", "set_policy"]


def set_policy(by: Member, key: ApiKey, wish: Wish, seen: str | None = None) -> RotationPolicy:
    """Say when and how the key rotates; what is None follows from the levels above it.

    `seen` marks the policy that the person was looking at. Raises Denied, BadInput with what does
    not fit, or Conflict if somebody else changed it since.
    """
    if not may(by, Permission.ROTATE, key):
        raise Denied("Your role does not let you set this key's rotation policy.")
    said = wish.cleaned()
    own = {name: said[name] for name in SETTINGS if said[name] is not None}
    with transaction.atomic():
        # guard: policies are written in turn
        inheritance.lock_policies()
        require_unchanged(seen, key)
        policy = RotationPolicy.objects.filter(key=key).first() or RotationPolicy(key=key)
        policy.key = key
        found = inheritance.resolve([*inheritance.Levels().above(key), ("this key", own)])
        inheritance.apply_values(policy, found, own)
        require_rhythm(policy)
        require_possible(policy)
        policy.set_by = by
        policy.save()
        planner.plan_next(key.pk)
        record(Action.POLICY_CHANGED, member_actor(by), key, policy=str(policy))
    policy.refresh_from_db()
    return policy
