"""Put each change of a second factor on record; django-allauth tells of it by signals."""

from typing import Any

from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset

from keyvault.audit.actors import member_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action


def _added(user: Any, authenticator: Any, **_: Any) -> None:
    record_now(Action.MEMBER_FACTOR_CHANGED, member_actor(user), user, added=authenticator.type)


def _removed(user: Any, authenticator: Any, **_: Any) -> None:
    record_now(Action.MEMBER_FACTOR_CHANGED, member_actor(user), user, removed=authenticator.type)


def listen() -> None:
    """Begin to listen; the app does it when it is ready."""
    authenticator_added.connect(_added, weak=False, dispatch_uid="factor added")
    authenticator_reset.connect(_added, weak=False, dispatch_uid="factor reset")
    authenticator_removed.connect(_removed, weak=False, dispatch_uid="factor removed")
