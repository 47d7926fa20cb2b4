"""The copies of a program: which of them was given which version of a key, and what each proved.

One token may be used by several copies at once. Each says which it is, by an id of its own in the
header `X-Keyvault-Instance`; of one that does not, the address that it calls from stands for it.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from keyvault.core.errors import BadInput
from keyvault.core.request_context import current
from keyvault.models import ApiKey, KeyVersion, ServiceToken, TokenKeyVersion, VersionState

HEADER = "X-Keyvault-Instance"
PATTERN = "[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
# Of one token and key; an id is the caller's word, and whoever has a token can make up any number.
MOST = 50
_NOTED_EVERY = timedelta(minutes=1)
_KEPT, _KEPT_OF_DEAD = timedelta(days=366), timedelta(days=40)
_DEAD = (VersionState.DELETED, VersionState.DISCARDED)
_BATCH = 5000


def named(said: str) -> str:
    """Return under which name the calling copy is noted; BadInput for an id of another shape."""
    if not said:
        return f"@{current().source}"[:64]
    # guard: an id of a copy has a shape
    if not re.fullmatch(PATTERN, said):
        raise BadInput(
            (
                f"{HEADER} must be 1 to 64 letters, digits, dots, underscores, colons or hyphens, and "
                "begin with a letter or a digit. Nothing was given out or changed. Send another one, "
                "or leave it out: then the address tells copies apart."
            ),
            code="bad_instance",
        )
    return said


def is_old(noted_at: datetime) -> bool:
    """Return whether a copy was noted so long ago that it is noted again."""
    return timezone.now() - noted_at > _NOTED_EVERY


def note(token: ServiceToken, given: Sequence[KeyVersion], copy: str) -> None:
    """Keep what a copy holds since when; an unchanged row is touched once a minute at most."""
    keys, held = [one.key_id for one in given], [one.pk for one in given]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT keyvault_note_copy(%s, %s, %s, %s::bigint[], %s::bigint[], %s)",
            [token.pk, copy, timezone.now(), keys, held, MOST],
        )


def prove(token: ServiceToken, key: ApiKey, version: KeyVersion, copy: str) -> bool:
    """Note that a copy proved to hold this version; returns whether that is new."""
    note(token, [version], copy)
    # guard: a proof speaks for one copy
    row = TokenKeyVersion.objects.filter(token=token, key=key, instance=copy).exclude(
        proved=version
    )
    return bool(row.update(proved=version, proved_at=timezone.now()))


def forget() -> int:
    """Drop a batch of what was not seen for a year, or holds what is dead; returns how many.

    What is dead is kept for a while, so that the rhythm of what comes once a month stays known.
    """
    now = timezone.now()
    gone = Q(last_at__lt=now - _KEPT)
    dead = Q(version__state__in=_DEAD, last_at__lt=now - _KEPT_OF_DEAD)
    chosen = list(TokenKeyVersion.objects.filter(gone | dead).values_list("pk", flat=True)[:_BATCH])
    return TokenKeyVersion.objects.filter(pk__any=chosen).delete()[0] if chosen else 0
