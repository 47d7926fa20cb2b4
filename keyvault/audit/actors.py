"""Who acts, and on what: the two ends of an audit row."""

from dataclasses import dataclass

from django.db import models

from keyvault.core.redaction import one_line


@dataclass(frozen=True)
class Actor:
    """Who acts: a member, a service token, or the system for a named reason (never empty)."""

    kind: str
    id: str
    label: str
    on_behalf_of: str = ""


def member_actor(member: models.Model) -> Actor:
    """Return the actor for a signed-in person."""
    return Actor("member", str(member.pk), str(member))


def token_actor(token: models.Model) -> Actor:
    """Return the actor for a service token."""
    return Actor("token", str(token.pk), str(token))


def system_actor(reason: str, on_behalf_of: str = "") -> Actor:
    """Return the actor for background work, with the reason and the person it is done for."""
    return Actor("system", "", f"system: {reason}", on_behalf_of)


@dataclass(frozen=True)
class Subject:
    """What is acted on, with its label copied in: the log outlives the object."""

    kind: str = ""
    id: str = ""
    label: str = ""
    key_id: int | None = None


def audit_subject(obj: models.Model | None) -> Subject:
    """Describe a model object; the key it belongs to is found by `key_id` or by being one."""
    if obj is None:
        return Subject()
    kind = str(obj._meta.model_name)
    key_id = obj.pk if kind == "apikey" else getattr(obj, "key_id", None)
    return Subject(kind, str(obj.pk), one_line(str(obj), 500), key_id)


def anonymous_actor() -> Actor:
    """Return the actor for a caller whose token was refused."""
    return Actor("anonymous", "", "unknown caller")
