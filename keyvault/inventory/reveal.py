"""Show a secret to a person: a proof of who they are, a reason, often a second person; a row first.

Break-glass is for when nobody else can be reached: alone and at once, with everybody told.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from keyvault import hooks
from keyvault.access import approvals, rate_limits
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, lock_member, may
from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.models import ApiKey, KeyVersion, Member
from keyvault.models.approvals import ApprovalAction
from keyvault.models.disclosures import SecretDisclosure

_REASON_LEAST, _BREAK_GLASS_LEAST = 5, 20
_HOUR = 3600
# So many within ten minutes are no longer one person fixing one thing.
_BURST, _BURST_WINDOW = 5, 600


@dataclass(frozen=True)
class Wish:
    """What the person says: why, whether they have just proved who they are, and whether alone."""

    reason: str
    proved: bool
    break_glass: bool = False


def reveal(by: Member, key: ApiKey, wish: Wish) -> Secret:
    """Return the current secret. The audit row is committed before Vault is read.

    Raises Denied for a role, a stale proof or a spent budget, BadInput without a reason, Conflict
    without a secret, NeedsApproval when a second person was asked. Denials are recorded too.
    """
    actor = member_actor(by)
    if not may(by, Permission.REVEAL, key):
        raise _denied(actor, key, "role", "Your role does not let you reveal this key.")
    # guard: proof before a reveal
    if not wish.proved:
        text = (
            "Prove again who you are: this needs a password or a passkey of the last 5 minutes. "
            "Nothing was revealed."
        )
        raise _denied(actor, key, "no fresh proof", text, "proof_required")
    _require_reason(actor, key, wish)
    if key.current is None:
        raise Conflict("This key has no current secret.")
    version = key.current
    if not wish.break_glass:
        _require_second_person(by, key, wish)
    _spend(by, actor, key)
    _note(by, version)
    record_now(
        Action.SECRET_REVEALED,
        actor,
        key,
        reason=wish.reason,
        version=version.number,
        break_glass=wish.break_glass,
    )
    if wish.break_glass:
        text = f"{by} revealed the secret of {key} alone: {wish.reason.strip()}"
        hooks.open_review(by, key, text, f"break-glass {key.pk} {version.pk} {by.pk}")
    return versions.read_secret(version)


def _note(by: Member, version: KeyVersion) -> None:
    """Write down who knows this secret, before they do: whoever off-boards them must find it."""
    now = timezone.now()
    with transaction.atomic():
        # guard: held while a reveal is noted
        lock_member(by)
        SecretDisclosure.objects.update_or_create(
            member=by,
            version=version,
            defaults={"last_at": now},
            create_defaults={"first_at": now, "last_at": now},
        )


def note_wrong_password(by: Member, key: ApiKey) -> None:
    """Record that a reveal was tried with a wrong password, and refuse it."""
    text = "The password is not right. Nothing was revealed."
    raise _denied(member_actor(by), key, "wrong password", text, "wrong_password")


def needs_second_person(by: Member, key: ApiKey) -> bool:
    """Return whether another person must agree: for production, and for somebody else's own key."""
    if key.member_id == by.pk:
        return False
    return key.member_id is not None or approvals.is_needed(ApprovalAction.REVEAL, key.environment)


def _require_second_person(by: Member, key: ApiKey, wish: Wish) -> None:
    if not needs_second_person(by, key):
        return
    assert key.current is not None
    number, reason = key.current.number, wish.reason.strip()
    what = f"Reveal the secret of {key}, version {number}, to {by}: {reason}"
    parameters = {"key": key.pk, "version": key.current.pk, "reason": reason}
    asked = Asked(ApprovalAction.REVEAL, what, parameters, key=key, reason=reason, always=True)
    approvals.require(by, asked)


def _require_reason(actor: Actor, key: ApiKey, wish: Wish) -> None:
    least = _BREAK_GLASS_LEAST if wish.break_glass else _REASON_LEAST
    if len(wish.reason.strip()) >= least:
        return
    record_now(Action.SECRET_REVEALED, actor, key, outcome="denied", reason="no reason given")
    more = " Acting alone needs a whole sentence." if wish.break_glass else ""
    raise BadInput(f"Say in a few words why you need the secret; auditors will read it.{more}")


def _spend(by: Member, actor: Actor, key: ApiKey) -> None:
    """Count the reveal against the person's hour, and tell of a burst once."""
    # guard: budget of reveals
    if rate_limits.count_attempt("reveal", str(by.pk), _HOUR) > settings.REVEALS_PER_HOUR:
        raise _denied(
            actor,
            key,
            "budget",
            (
                f"You have revealed {settings.REVEALS_PER_HOUR} secrets within an hour, which is "
                "the limit. Nothing was revealed. Rotate instead, or wait."
            ),
            "reveal_budget",
        )
    if rate_limits.count_attempt("reveal burst", str(by.pk), _BURST_WINDOW) == _BURST:
        text = f"{by} revealed {_BURST} secrets within ten minutes."
        hooks.open_review(by, None, text, f"burst of reveals {by.pk}")


def _denied(actor: Actor, key: ApiKey, why: str, text: str, code: str = "denied") -> Denied:
    record_now(Action.SECRET_REVEALED, actor, key, outcome="denied", reason=why)
    return Denied(text, code=code)
