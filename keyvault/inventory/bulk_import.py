"""The door to many keys at once: what would become of each row, and then the same for real.

Each row stands for itself: a bad one holds up no other, and doing it again after a mend records only
what was missing. Secrets are never kept between the two: the second time they are given again. What is
not known to be a key of the vendor is not sent there until a person ticks its row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from keyvault.access.permissions import Permission, may, visible_applications
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.dates import end_as_typed
from keyvault.core.errors import BadInput, KeyServiceError
from keyvault.core.hashing import fingerprint, peppered
from keyvault.inventory import (
    import_formats,
    keys,
    secret_names,
    secret_patterns,
    vendor_id_format,
    vendor_match,
)
from keyvault.inventory.catalog import visible_accounts, visible_environments
from keyvault.inventory.import_formats import Row
from keyvault.inventory.keys import NewKey
from keyvault.inventory.placeholders import Question
from keyvault.inventory.secret_input import Pasted
from keyvault.models import ApiKey, Application, Environment, KeyVersion, Member, VendorAccount

MOST = 2000
T = TypeVar("T", bound=Model)


@dataclass(frozen=True)
class Defaults:
    """What counts where a row does not say it."""

    account: VendorAccount | None = None
    environment: Environment | None = None
    application: Application | None = None


@dataclass
class Fate:
    """What becomes of a row: `new`, `without` (a secret), `known`, `left` out, or `bad`, and why.

    A row that is left out is recorded when it is ticked: `tick` stands for this row with this very
    content at this account, and tells nothing of it. `setting` says that it is no key at all.
    """

    line: int
    name: str
    state: str
    text: str = ""
    key: int | None = None
    tick: str = ""
    ticked: bool = False
    setting: bool = False

    @property
    def good(self) -> bool:
        """Return whether the row is, or would be, on record."""
        return self.state in ("new", "without", "known")


def _nothing(_line: int, _name: str, _tick: str) -> bool:
    return False


@dataclass(frozen=True)
class Way:
    """How an import is done: `really`, `unchecked`, and with which rows a person vouched for.

    `ticked` is asked about a line, its name and its tick. `names_are_right` lets names look like
    secrets. Of all rows, those from `start` on are done, `most` of them.
    """

    really: bool = False
    unchecked: bool = False
    names_are_right: bool = False
    ticked: Callable[[int, str, str], bool] = _nothing
    start: int = 0
    most: int | None = None


LOOK, RECORD = Way(), Way(really=True)


@dataclass
class Fates:
    """What became of the rows that were done, and how many there are `of` in the whole text."""

    rows: list[Fate]
    of: int


@dataclass
class _Named(Generic[T]):
    """The things of one kind that the person may name, each asked for once."""

    what: str
    rows: "QuerySet[T]"
    default: T | None
    found: dict[str, T | None] = field(default_factory=dict)

    def get(self, name: str) -> T:
        """Return the thing of this name, or the default; BadInput when there is none."""
        if not name:
            if self.default is None:
                raise BadInput(f"It names no {self.what}, and none was chosen for all.")
            return self.default
        if name not in self.found:
            self.found[name] = self.rows.filter(name__iexact=name).first()
        found = self.found[name]
        if found is None:
            raise BadInput(f"There is no such {self.what}.")
        return found


@dataclass
class _Places:
    """What rows may name: accounts, environments and applications that the person may see."""

    accounts: _Named[VendorAccount]
    environments: _Named[Environment]
    applications: _Named[Application]


def _places(by: Member, defaults: Defaults) -> _Places:
    return _Places(
        _Named("account", visible_accounts(by), defaults.account),
        _Named("environment", visible_environments(by), defaults.environment),
        _Named("application", visible_applications(by), defaults.application),
    )


def run(by: Member, text: str, defaults: Defaults, way: Way = LOOK) -> Fates:
    """Say what becomes of each row, and if it is done really, ask the vendor about each secret.

    The whole text is read each time, whatever part of it is done: two rows of one name are found
    wherever they stand. Raises BadInput when the text as a whole cannot be read, or has more than 2000
    rows; then nothing is recorded.
    """
    rows = import_formats.read(text, MOST)
    if len(rows) > MOST:
        raise BadInput(
            f"It has more than {MOST} rows, which is the most at once. Nothing was stored."
        )
    part = rows[way.start : None if way.most is None else way.start + way.most]
    places = _places(by, defaults)
    odd = _odd_names(part, way)
    return Fates([_one(by, row, places, way, odd) for row in part], len(rows))


def _odd_names(rows: list[Row], way: Way) -> set[str]:
    """Return the names that may not be shown: secrets on record, and what looks like one."""
    names = {row.values.get("name", "") for row in rows}
    odd = set() if way.names_are_right else set(filter(secret_patterns.looks_secret, names))
    return odd | secret_names.known_among(names)


def _one(by: Member, row: Row, places: _Places, way: Way, odd: set[str]) -> Fate:
    name = row.values.get("name", "")
    # guard: a secret in the column of names is not shown
    if name in odd:
        return Fate(row.line, "", "bad", secret_names.looks_like_one())
    if row.problem:
        return Fate(row.line, name, "bad", row.problem)
    try:
        new = _new(row, places)
        new.name_is_right = way.names_are_right
        if row.values.get("secret", "").strip():
            return _with_secret(by, row, new, way)
        return _without(by, row, new, really=way.really)
    except KeyServiceError as error:
        return Fate(row.line, name, "bad", error.message)


def _with_secret(by: Member, row: Row, new: NewKey, way: Way) -> Fate:
    """Record a key that fits the vendor or was ticked; else say why it is left out."""
    secret = row.values["secret"]
    # guard: a tick stands for one content
    tick = peppered(f"{new.account.pk}\0{row.line}\0{new.name}\0{secret}")[:24]
    ticked = way.ticked(row.line, new.name, tick)
    doubt = vendor_match.doubt(vendor_match.signs_of(new.account), new.name, secret)
    left = Fate(row.line, new.name, "left", tick=tick, ticked=ticked)
    if doubt and doubt.is_setting and not ticked:
        left.text, left.setting = doubt.text, True
        return left
    try:
        pasted = vendor_match.take(new.account, secret, as_it_is=ticked or bool(doubt))
    except Question as error:
        left.text = error.why
        return left
    known = _known(by, new, pasted)
    if known:
        return Fate(row.line, new.name, "known", "It is recorded already.", known.pk)
    # guard: what does not fit is not sent
    if doubt and not ticked:
        left.text = doubt.text
        return left
    fate = _recorded(by, row, new, way, pasted, as_it_is=ticked)
    fate.tick, fate.ticked = tick if ticked else "", ticked
    return fate


def _recorded(
    by: Member, row: Row, new: NewKey, way: Way, pasted: Pasted, *, as_it_is: bool
) -> Fate:
    if not way.really:
        keys.require_recordable(by, new)
        keys.refuse_known(by, pasted.secret)
        # guard: the trial run of an import names a used id
        vendor_id_format.require_free(by, new.account, new.vendor_id)
        secret_names.refuse_own_secret(pasted.secret, (new.name, new.purpose, new.vendor_id))
        text = "It is checked with the vendor when it is recorded."
        return Fate(row.line, new.name, "new", _notes(text, row, pasted))
    secret = row.values["secret"]
    added = keys.register_key(by, new, secret, unchecked=way.unchecked, as_it_is=as_it_is)
    text = _notes(added.verdict.text, row, pasted)
    return Fate(row.line, new.name, "new", text, added.version.key_id)


def _notes(text: str, row: Row, pasted: Pasted) -> str:
    return " ".join(filter(None, [text, *pasted.notes, row.note]))


def _new(row: Row, places: _Places) -> NewKey:
    said = row.values
    return NewKey(
        account=places.accounts.get(said.get("account", "")),
        environment=places.environments.get(said.get("environment", "")),
        application=places.applications.get(said.get("application", "")),
        name=said["name"],
        purpose=said.get("purpose", ""),
        vendor_id=said.get("vendor_id", ""),
        expires_at=end_as_typed(said.get("expires_at", ""), timezone.now()),
    )


def _known(by: Member, new: NewKey, pasted: Pasted | None) -> ApiKey | None:
    """Return the key of this name and place if it has this very secret, or if none was given."""
    found = ApiKey.objects.filter(
        account=new.account, environment=new.environment, name__iexact=new.name, archived_at=None
    ).first()
    if found is None or not may(by, Permission.VIEW, found):
        return None
    if pasted is None:
        return found
    print_of = fingerprint(pasted.secret)
    same = KeyVersion.objects.filter(key=found, fingerprint=print_of).exists()
    return found if same else None


def _without(by: Member, row: Row, new: NewKey, *, really: bool) -> Fate:
    known = _known(by, new, None)
    if known:
        return Fate(row.line, new.name, "known", "It is recorded already.", known.pk)
    text = "Without a secret: it is given by a rotation or pasted later."
    key = keys.require_recordable(by, new)
    if not really:
        return Fate(row.line, new.name, "without", text)
    try:
        with transaction.atomic():
            key.save()
            record(Action.KEY_REGISTERED, member_actor(by), key, reason="without a secret")
    except IntegrityError:
        raise BadInput("Somebody recorded the same name at this moment.") from None
    return Fate(row.line, new.name, "without", text, key.pk)
