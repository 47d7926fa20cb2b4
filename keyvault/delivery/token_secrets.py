"""The texts of a service token: the present one, and former ones that still open for their overlap.

A program goes on with the text that it was started with, however often the token is renewed meanwhile
(twice by mistake, by two owners, by a page that was loaded again). So each former text keeps an end of
its own; there are only so many, and one that was never used makes room before one that is in use.
"""

import hmac
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Func, JSONField, QuerySet, Value
from django.utils import timezone

from keyvault.core.errors import Conflict
from keyvault.models import Member, ServiceToken
from keyvault.models.disclosures import TokenDisclosure

PRESENT = "present"
MOST_FORMER = 10


def former(token: ServiceToken, digest: str) -> str | None:
    """Return which former text this is the digest of, if it still opens; compares with each of them."""
    now, found = timezone.now(), None
    for one in token.formers:
        same = hmac.compare_digest(digest, str(one["digest"]))
        # guard: end of a former text
        if same and _end_of(one) > now and token.former_until and token.former_until > now:
            found = str(one["text"])
    return found


def used_at(token: ServiceToken, text: str) -> datetime | None:
    """Return when this text was last used."""
    at = token.texts_used.get(text)
    return datetime.fromisoformat(at) if at else None


def note_use(token: ServiceToken, now: datetime) -> None:
    """Note that the text that the call came with was used now."""
    used = {token.used_text: now.isoformat()}
    changes: dict[str, Any] = {
        "last_used_at": now,
        "texts_used": Func(
            F("texts_used"),
            Value(used, output_field=JSONField()),
            template="%(expressions)s",
            arg_joiner=" || ",
            output_field=JSONField(),
        ),
    }
    if token.used_text != PRESENT:
        changes["former_used_at"] = now
    ServiceToken.objects.filter(pk=token.pk).update(**changes)


def open_formers(token: ServiceToken) -> list[dict[str, Any]]:
    """Return the former texts that still open, the last one first, without their digests.

    Each has `shown_at`, `shown_to` (a name), `ends_at` and `used_at` (None for never).
    """
    now = timezone.now()
    return [
        {
            "shown_at": datetime.fromisoformat(one["shown_at"]),
            "shown_to": one["shown_to"],
            "ends_at": _end_of(one),
            "used_at": used_at(token, str(one["text"])),
        }
        for one in reversed(token.formers)
        if _end_of(one) > now and not token.revoked_at
    ]


def replace(
    token: ServiceToken, digest: str, now: datetime, overlap: timedelta, by: Member
) -> None:
    """Make `digest` the present text's, shown to `by`; the one before it opens for the overlap.

    In a transaction that has locked the token's row. Raises Conflict when it has no room.
    """
    ends = now + overlap
    replaced = _end_present(token, ends)
    used = {name: at for name, at in token.texts_used.items() if name != PRESENT}
    if PRESENT in token.texts_used:
        used[str(replaced.pk)] = token.texts_used[PRESENT]
    kept: list[dict[str, Any]] = []
    if overlap:
        entry = {
            "text": replaced.pk,
            "digest": token.digest,
            "until": ends.isoformat(),
            "shown_at": replaced.shown_at.isoformat(),
            "shown_to": str(replaced.member or ""),
        }
        # guard: older former texts kept
        kept = [*(one for one in token.formers if _end_of(one) > now), entry]
    kept = _with_room(kept, used)
    names = [one["text"] for one in kept]
    still = TokenDisclosure.objects.filter(token=token, ends_at__gt=now)
    still.exclude(pk__in=names).update(ends_at=now)
    TokenDisclosure.objects.create(token=token, member=by, shown_at=now)
    ServiceToken.objects.filter(pk=token.pk).update(
        formers=kept,
        texts_used={name: at for name, at in used.items() if int(name) in names},
        former_digest=token.digest,
        former_until=max((_end_of(one) for one in kept), default=now),
        former_used_at=token.former_used_at if len(kept) > 1 else None,
        digest=digest,
        renewed_at=now,
    )


def end(texts: QuerySet[TokenDisclosure], at: datetime) -> None:
    """Have former texts open until `at` at the longest; in the caller's transaction."""
    chosen = dict(texts.filter(ends_at__gt=at).values_list("pk", "token"))
    locked = ServiceToken.objects.select_for_update(no_key=True).order_by("pk")
    for token in locked.filter(pk__in=set(chosen.values())):
        for one in token.formers:
            if one["text"] in chosen and _end_of(one) > at:
                # guard: former text of a leaver
                one["until"] = at.isoformat()
        token.save(update_fields=["formers"])
    TokenDisclosure.objects.filter(pk__in=chosen).update(ends_at=at)


def _end_present(token: ServiceToken, ends: datetime) -> TokenDisclosure:
    """Set the end of the text that is present, and return its row; older data may lack one."""
    row = TokenDisclosure.objects.filter(token=token, ends_at=None).select_related("member").first()
    if row is None:
        shown = token.renewed_at or token.created_at
        return TokenDisclosure.objects.create(
            token=token, member=None, shown_at=shown, ends_at=ends
        )
    row.ends_at = ends
    row.save(update_fields=["ends_at"])
    return row


def _with_room(kept: list[dict[str, Any]], used: dict[str, str]) -> list[dict[str, Any]]:
    """Leave out the oldest that were never used, if there are too many; Conflict when all are in use."""
    while len(kept) > MOST_FORMER:
        # guard: text in use keeps its room
        unused = next((one for one in kept if str(one["text"]) not in used), None)
        if unused is None:
            raise Conflict(
                (
                    f"{MOST_FORMER} former texts of this token are still in use, each "
                    "until its end. Nothing was "
                    "renewed, and all of them work on. Let the programs take up the present text first, "
                    "or revoke the token and issue others."
                ),
                code="too_many_texts",
            )
        kept = [one for one in kept if one is not unused]
    return kept


def _end_of(one: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(one["until"])
