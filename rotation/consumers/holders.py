"""Who holds which version of a key: consumers, and tokens of their own, each with all its copies.

Whatever was given the old version holds it until it proved the new one. That its token expired since,
was revoked, or belongs to no consumer takes no key out of a program's memory.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import F, FilteredRelation, Q, QuerySet

from keyvault.core import db_clock
from keyvault.models import ApiKey, KeyVersion, ServiceToken, TokenKeyVersion, VersionState
from rotation.models import Consumer, Rotation

# How long something may stay away, in times of its own longest pause, before it counts as gone.
_PATIENCE = 2
_LEAST = timedelta(hours=1)
# What fetched once may well run each night; what was away for long before the switch, each week.
_UNKNOWN, _MOST_GUESSED = timedelta(hours=26), timedelta(days=8)
_DEAD = (VersionState.DELETED, VersionState.DISCARDED)
_LONGEST_NAMES = 350


@dataclass(frozen=True)
class Switch:
    """From which version to which, and since when the new one is given out."""

    old: int | None  # None: any other
    new: int | None
    at: datetime | None = None


@dataclass(frozen=True)
class Proof:
    """The last version that any copy of a consumer proved to hold, and when."""

    version_id: int
    number: int
    at: datetime


@dataclass
class Holder:
    """A consumer or a token of its own, with what its copies were given and proved to hold."""

    switch: Switch
    token: ServiceToken
    consumer: Consumer | None = None
    proof: Proof | None = None
    rows: list[TokenKeyVersion] = field(default_factory=list)
    waived: bool = False  # a person took responsibility for all of it that has not moved

    @property
    def name(self) -> str:
        """Return what people call it."""
        return (self.consumer or self.token).name

    @property
    def kind(self) -> str:
        """Return “consumer”, or “token” for a service token without one."""
        return "consumer" if self.consumer else "token"

    @property
    def standing(self) -> str:
        """Return “active”, or why the token opens nothing any more."""
        if self.consumer and not self.consumer.active:
            return "removed"
        if self.token.revoked_at:
            return "revoked"
        expires = self.token.expires_at
        return "expired" if expires and expires <= db_clock.now() else "active"

    @property
    def copies(self) -> int:
        """Return how many copies were seen with the old or the new version."""
        return sum(row.copies for row in self.rows)

    @property
    def copies_moved(self) -> int:
        """Return how many of them proved the new version, or were never given another one."""
        return sum(row.copies for row in self.rows if self._has_moved(row))

    @property
    def copies_gone(self) -> int:
        """Return how many that did not move were not seen for long, by their own rhythm."""
        return sum(row.copies for row in self._left() if _is_gone(row))

    @property
    def moved(self) -> bool:
        """Return whether nothing here is known to hold the old version alone.

        A consumer on record must have said so itself, also where no fetch of it is known.
        """
        said = not self.on_record or bool(self.proof and self.proof.version_id == self.switch.new)
        # guard: one copy that moved is not all
        return said and not self._left()

    @property
    def on_record(self) -> bool:
        """Return whether this is a consumer in use, which can prove that it moved."""
        return self.consumer is not None and self.standing == "active"

    @property
    def must_prove(self) -> bool:
        """Return whether nothing but its own proof, or a person, may stand for its moving.

        Copies of a consumer that went away while others proved the new version are no such thing.
        """
        if not self.on_record or self.moved:
            return False
        left = self._left()
        gone = bool(left) and all(_is_gone(row) for row in left)
        # guard: a consumer that proved nothing is not let go as gone
        return not (gone and self.proof and self.proof.version_id == self.switch.new)

    @property
    def has_proved(self) -> bool:
        """Return whether any copy proved the new version."""
        new = self.switch.new
        return new is not None and any(row.proved_id == new for row in self.rows)

    @property
    def can_only_be_confirmed(self) -> bool:
        """Return whether no word of its own is to be expected any more."""
        return self.standing != "active" or self.copies_gone == self.copies - self.copies_moved

    @property
    def every_seconds(self) -> int:
        """Return the longest pause of lately between two fetches of a copy; 0 when not known."""
        return max((row.pause_seconds for row in self.rows), default=0)

    @property
    def patience(self) -> timedelta:
        """Return for how long the vendor must have seen no use before its word may count here."""
        left = (_patience(row, self.switch) for row in self._left())
        return max(left, default=timedelta())

    @property
    def last_at(self) -> datetime | None:
        """Return when any copy fetched last."""
        return max((row.last_at for row in self.rows), default=None)

    @property
    def state(self) -> str:
        """Return “never”, “behind”, “fetched” or “acknowledged”, as seen from the new version."""
        new = self.switch.new
        if not self.rows and not self.proof:
            return "never"
        if self.moved and (self.on_record or all(row.proved_id == new for row in self.rows)):
            return "acknowledged"
        has_it = bool(self.rows) and all(row.version_id == new for row in self.rows)
        return "fetched" if has_it else "behind"

    @property
    def version(self) -> KeyVersion | None:
        """Return what the copy that came last was given."""
        return self.rows[0].version if self.rows else None

    @property
    def since(self) -> datetime | None:
        """Return when that copy was given it first."""
        return self.rows[0].first_at if self.rows else None

    @property
    def acknowledged(self) -> tuple[int, datetime] | None:
        """Return the version that was proved last, by any copy, and when."""
        said = [
            (one.proved_at, one.proved.number) for one in self.rows if one.proved_at and one.proved
        ]
        if self.proof:
            said.append((self.proof.at, self.proof.number))
        at, number = max(said, default=(None, 0))
        return (number, at) if at else None

    @property
    def what(self) -> str:
        """Return what it is, where that is no consumer in use; else nothing."""
        return "" if self.on_record else _what(self)

    @property
    def every(self) -> str:
        """Return its longest pause of lately in words; empty when not known."""
        return in_words(timedelta(seconds=self.every_seconds)) if self.every_seconds else ""

    def _left(self) -> list[TokenKeyVersion]:
        return [row for row in self.rows if not self._has_moved(row)]

    def _has_moved(self, row: TokenKeyVersion) -> bool:
        new = self.switch.new
        if new is None:
            return False
        # guard: to fetch the new version is no proof
        if row.proved_id == new or (row.version_id == new and row.former_id is None):
            return True
        # Whoever acknowledges has a row: where there is one alone, it was this one. So what proved
        # it before copies were told apart need not do it again.
        alone = len(self.rows) == row.copies == 1
        return alone and bool(self.proof and self.proof.version_id == new)

    def identities(self) -> dict[str, int]:
        """Return what a waiver speaks for: this holder, and each copy left, with how many it is."""
        copies = {f"{self.token.pk}/{row.instance}": row.copies for row in self._left()}
        return {str(self.token.pk): 0, **copies}

    def waived_by(self, spoken_for: dict[str, int]) -> bool:
        """Return whether a waiver for these speaks for all that is left here."""
        # guard: a waiver speaks for no copy that came later
        return all(spoken_for.get(one, -1) >= count for one, count in self.identities().items())

    def words(self) -> str:
        """Return its name, with what tells why it counts and how many copies moved."""
        said = [self.what] if self.what else []
        if self.copies > 1:
            said.append(f"{self.copies_moved} of {self.copies} copies")
        gone = self.copies_gone
        if gone and self.on_record:
            said.append(f"{gone} not seen for long")
        if said and self.last_at:
            said.append(f"last fetch {self.last_at:%Y-%m-%d %H:%M} UTC")
        return f"{self.name} ({', '.join(said)})" if said else self.name


def _what(holder: Holder) -> str:
    state = holder.standing
    if holder.consumer is None:
        return "service token" if state == "active" else f"{state} service token"
    return "removed consumer" if state == "removed" else f"consumer with its token {state}"


def _is_gone(row: TokenKeyVersion) -> bool:
    """Return whether a copy stayed away for longer than it ever did, generously."""
    known = timedelta(seconds=_PATIENCE * row.pause_seconds)
    return db_clock.now() - row.last_at > max(_LEAST, known or _UNKNOWN)


def _patience(row: TokenKeyVersion, switch: Switch) -> timedelta:
    """Return how long a quiet period must be to tell anything about a copy that did not prove."""
    known = timedelta(seconds=_PATIENCE * row.pause_seconds)
    if row.version_id == switch.new:
        return known  # it came for the new one; only what it still does with the old one counts
    away = (switch.at or db_clock.now()) - row.last_at
    # guard: one fetch is no rhythm
    return max(_LEAST, known or _UNKNOWN, min(_PATIENCE * away, _MOST_GUESSED))


def of_rotation(rotation: Rotation) -> list[Holder]:
    """Return whoever holds the old version or must prove the new one, those on record first."""
    switch = Switch(rotation.old_version_id, rotation.new_version_id, rotation.published_at)
    found = gathered(rotation.key, switch)
    if rotation.waived_at:
        spoken_for = rotation.waived_holders
        for one in found:
            one.waived = spoken_for is None or one.waived_by(spoken_for)
    return found


def of_key(key: ApiKey) -> list[Holder]:
    """Return who holds which version of a key now, whether it rotates or not."""
    return gathered(key, Switch(None, key.current_id))


def gathered(key: ApiKey, switch: Switch) -> list[Holder]:
    """Return the consumers on record, and whatever was given a version that is not dead."""
    found: dict[int, Holder] = {}
    said = FilteredRelation("acknowledged", condition=Q(acknowledged__key=key.pk))
    for consumer in (
        consumers_of(key)
        .select_related("token")
        .annotate(said=said, said_of=F("said__version"), said_at=F("said__at"))
        .annotate(said_number=F("said__version__number"))
    ):
        proof = Proof(consumer.said_of, consumer.said_number, consumer.said_at)
        told = proof if consumer.said_of else None
        found[consumer.token_id] = Holder(switch, consumer.token, consumer, told)
    rows: dict[int, list[TokenKeyVersion]] = defaultdict(list)
    # Of what was given a dead version since, some was given the old one before that.
    known = ~Q(version__state__in=_DEAD)
    if switch.old is not None:
        known |= Q(version=switch.old) | Q(former=switch.old)
    fetches = TokenKeyVersion.objects.filter(known, key=key).select_related(
        "token__consumer", "version", "proved"
    )
    for row in fetches.order_by("-last_at"):
        rows[row.token_id].append(row)
    for token_id, all_ in rows.items():
        # guard: what is no consumer in use holds a key too
        if token_id not in found:
            token = all_[0].token
            found[token_id] = Holder(switch, token, getattr(token, "consumer", None))
        found[token_id].rows = all_
    return sorted(found.values(), key=lambda one: (not one.on_record, one.name.lower()))


def consumers_of(key: ApiKey) -> QuerySet[Consumer]:
    """Return the active consumers of the key: those of its application in its environment."""
    if key.application_id is None:
        return Consumer.objects.none()
    return Consumer.objects.filter(
        Q(token__revoked_at__isnull=True),
        Q(token__expires_at__isnull=True) | Q(token__expires_at__gt=db_clock.now()),
        application=key.application_id,
        environment=key.environment_id,
        active=True,
    )


def left(rotation: Rotation) -> list[Holder]:
    """Return whoever is not known to have moved to the rotation's new version."""
    return [one for one in of_rotation(rotation) if not one.moved]


def waited_for(rotation: Rotation) -> list[Holder]:
    """Return whoever is left and was not waived."""
    return [one for one in left(rotation) if not one.waived]


def may_be_waived_again(rotation: Rotation) -> bool:
    """Return whether somebody is left for whom no waiver speaks yet, or nobody waived at all."""
    if rotation.waived_at is None:
        return True
    return rotation.waived_holders is not None and bool(waited_for(rotation))


def names(found: Iterable[Holder], longest: int = _LONGEST_NAMES) -> str:
    """Return them in words, as many as fit, and how many more there are."""
    told: list[str] = []
    more = length = 0
    for one in found:
        words = one.words()
        length += len(words) + 2
        if told and length > longest:
            more += 1
        else:
            told.append(words)
    return ", ".join(told) + (f" and {more} more" if more else "")


def in_words(span: timedelta) -> str:
    """Return about how long that is."""
    for word, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if span.total_seconds() >= 2 * seconds:
            return f"{round(span.total_seconds() / seconds)} {word}"
    return f"{round(span.total_seconds())} seconds"


def slowest(key: ApiKey, version_id: int | None) -> int:
    """Return the longest pause, in seconds, of whatever was given this version; 0 when not known."""
    rows = TokenKeyVersion.objects.filter(key=key, version=version_id).order_by("-pause_seconds")
    return rows.values_list("pause_seconds", flat=True).first() or 0
