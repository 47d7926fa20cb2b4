"""Sessions of people: their keys as digests, their data encrypted, ended when idle or too old.

Whoever reads the table can neither take over a session nor read what is in one, such as the seed of
an authenticator that is just being set up.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from keyvault.audit.actors import Actor, member_actor
from keyvault.audit.log import AuditUnavailable, record, record_now
from keyvault.audit.models import Action
from keyvault.core.encryption import sealer
from keyvault.core.redaction import one_line
from keyvault.core.request_context import current
from keyvault.models import Member
from keyvault.models.people import MemberSession

_BEGAN, _UNRECORDED = "began", "unrecorded"
_SEEN_EVERY = timedelta(minutes=1)


def _stored(session_key: str) -> str:
    """Return the name under which the session of this cookie is kept; 160 bits of a digest."""
    # guard: session by its digest
    return hashlib.sha256(session_key.encode()).hexdigest()[:40]


class SessionStore(DatabaseStore):
    """Django's database store with the key as a digest and the data encrypted."""

    @classmethod
    def get_model_class(cls) -> type[MemberSession]:
        """Return our table."""
        return MemberSession

    def _get_session_from_db(self) -> MemberSession | None:
        found = None
        if self.session_key:
            found = MemberSession.objects.filter(
                session_key=_stored(self.session_key), expire_date__gt=timezone.now()
            ).first()
        if found is None:
            self._session_key = None
        self.row = found
        return found

    def exists(self, session_key: str) -> bool:
        """Return whether a session of this key is kept."""
        return MemberSession.objects.filter(session_key=_stored(session_key)).exists()

    def create_model_instance(self, data: dict[str, Any]) -> MemberSession:
        """Return the row to save; it ends for good some hours after the sign-in."""
        now = timezone.now()
        began = datetime.fromisoformat(data[_BEGAN]) if _BEGAN in data else now
        self.row = MemberSession(
            session_key=_stored(self.session_key or ""),
            session_data=self.encode(data),
            expire_date=began + timedelta(seconds=settings.SESSION_COOKIE_AGE),
            member_id=data.get("_auth_user_id"),
            began_at=began,
            seen_at=now,
            source=current().source[:60],
            agent=data.get("agent", ""),
        )
        return self.row

    def delete(self, session_key: str | None = None) -> None:
        """End the session."""
        if session_key is None:
            session_key = self.session_key
        if session_key:
            MemberSession.objects.filter(session_key=_stored(session_key)).delete()

    def encode(self, session_dict: dict[str, Any]) -> str:
        """Encrypt the data."""
        return sealer("session").encrypt(self.serializer().dumps(session_dict)).decode()

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """Return the data; none for what was not written by us or under another key."""
        try:
            plain = sealer("session").decrypt(session_data)
        except InvalidToken:
            return {}
        return dict(self.serializer().loads(plain))


def begin(request: HttpRequest, unrecorded: str = "") -> None:
    """Note when and from where the session of a person who has just signed in began.

    `unrecorded` says how, when the audit log could not be written: the session only looks then.
    """
    request.session[_BEGAN] = timezone.now().isoformat()
    if unrecorded:
        request.session[_UNRECORDED] = unrecorded
    request.session["agent"] = one_line(request.headers.get("User-Agent", ""), 200)


def only_looks(request: HttpRequest, member: Member) -> bool:
    """Return whether the sign-in of this session is still not on record; tries to record it."""
    how = request.session.get(_UNRECORDED)
    if not how:
        return False
    reason = "recorded late: the audit log could not be written"
    try:
        record_now(Action.MEMBER_SIGNED_IN, member_actor(member), member, reason=reason, how=how)
    except AuditUnavailable:
        return True
    del request.session[_UNRECORDED]
    return False


def is_over(request: HttpRequest) -> bool:
    """Return whether this signed-in session was idle for too long; its age ends it by itself."""
    row: MemberSession | None = getattr(request.session, "row", None)
    return row is None or timezone.now() - row.seen_at > timedelta(
        minutes=settings.SESSION_IDLE_MINUTES
    )


def touch(request: HttpRequest) -> None:
    """Note that the person is there, at most once a minute; a page that moves by itself is not."""
    row: MemberSession | None = getattr(request.session, "row", None)
    now = timezone.now()
    if row is None or (request.headers.get("HX-Request") and request.method == "GET"):
        return
    if now - row.seen_at > _SEEN_EVERY:
        MemberSession.objects.filter(pk=row.pk).update(seen_at=now, source=current().source[:60])


def live(member: Member) -> QuerySet[MemberSession]:
    """Return the sessions of a person that still open something, the last used first."""
    now = timezone.now()
    idle = now - timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    return MemberSession.objects.filter(member=member, expire_date__gt=now, seen_at__gt=idle)


def end(actor: Actor, member: Member, *, only: str = "", but: str = "") -> int:
    """End the sessions of a person: all, the one stored as `only`, or all `but` one; returns how many."""
    chosen = Q(pk=only) if only else ~Q(pk=but)
    with transaction.atomic():
        ended, _ = MemberSession.objects.filter(chosen, member=member).delete()
        if ended:
            record(Action.SESSION_ENDED, actor, member, sessions=ended)
    return ended


def name_of(request: HttpRequest) -> str:
    """Return under which name the session of this request is kept; empty when there is none."""
    key = request.session.session_key
    return _stored(key) if key else ""


def sweep() -> None:
    """Remove the rows of sessions that are over."""
    idle = timezone.now() - timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    MemberSession.objects.filter(Q(expire_date__lt=timezone.now()) | Q(seen_at__lt=idle)).delete()
