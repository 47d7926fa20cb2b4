"""What a person, or an application's tokens, know or could know of secrets that are still alive.

What was rotated since is exposed no more: only versions that the vendor may still accept count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, QuerySet
from django.db.models.functions import Least

from keyvault.models import LIVE_STATES, ApiKey, Application, KeyVersion, Member, VersionState
from keyvault.models.disclosures import SecretDisclosure, TokenDisclosure

# A standby has no consumers; offboarding.py has it deleted and replaced.
_COUNTED = [state for state in LIVE_STATES if state != VersionState.STANDBY]

Found = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Exposure:
    """One secret that is known or could be known to somebody, and how."""

    key: ApiKey
    version: KeyVersion
    how: list[str]


def to_person(member: Member) -> list[Exposure]:
    """Return what the person was shown, brought in, owns, or could fetch; by name, with every way."""
    texts = TokenDisclosure.objects.filter(member=member)
    return _told(
        *_revealed(member), *_brought(member), *_own(member), *_fetchable(texts, "they were shown")
    )


def to_application(application: Application, since: datetime | None = None) -> list[Exposure]:
    """Return what the application's service tokens could read at any time since then."""
    texts = TokenDisclosure.objects.filter(token__application=application)
    return _told(*_fetchable(texts, "of the application", since))


def _told(*found: tuple[int, str]) -> list[Exposure]:
    ways: dict[int, list[str]] = {}
    for version_id, how in found:
        known = ways.setdefault(version_id, [])
        if how not in known:
            known.append(how)
    versions = KeyVersion.objects.filter(pk__any=ways, state__in=_COUNTED).select_related(
        "key__account", "key__environment", "key__application", "key__member"
    )
    return [
        Exposure(version.key, version, ways[version.pk])
        for version in versions.order_by("key__name", "key_id", "number")
    ]


def _revealed(member: Member) -> Found:
    shown = SecretDisclosure.objects.filter(member=member, version__state__in=_COUNTED)
    for version_id, at in shown.values_list("version_id", "last_at"):
        yield version_id, f"revealed it on {at:%Y-%m-%d}"


def _brought(member: Member) -> Found:
    brought = KeyVersion.objects.filter(added_by=member, state__in=_COUNTED)
    for version_id, number in brought.values_list("pk", "number"):
        yield version_id, f"brought in version {number}"


def _own(member: Member) -> Found:
    own = ApiKey.objects.filter(member=member, current__isnull=False)
    for version_id in own.values_list("current_id", flat=True):
        assert version_id is not None
        yield version_id, "is their own"


def _fetchable(
    texts: QuerySet[TokenDisclosure], whose: str, since: datetime | None = None
) -> Found:
    """Match the time in which each text opened with the time in which each version was served."""
    opened = texts.annotate(
        end=Least("ends_at", "token__revoked_at", "token__expires_at")
    ).values_list("token__application", "token__environment", "token__name", "shown_at", "end")
    places: dict[tuple[int, int], list[tuple[str, datetime, datetime | None]]] = {}
    for application, environment, name, shown, end in opened:
        if since is None or end is None or end > since:
            places.setdefault((application, environment), []).append((name, shown, end))
    served = KeyVersion.objects.filter(
        state__in=_COUNTED,
        published_at__isnull=False,
        key__application__in={place[0] for place in places},
        key__environment__in={place[1] for place in places},
    ).values_list("pk", F("key__application"), F("key__environment"), "published_at", "retired_at")
    for version_id, application, environment, published, retired in served:
        for name, shown, end in places.get((application, environment), ()):
            if (end is None or end > published) and (retired is None or shown < retired):
                yield version_id, f"could fetch it by the token “{name}” {whose}"
