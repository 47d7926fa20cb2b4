"""The door to many keys at once: what would become of each row, and then the same for real.

Each row stands for itself: a bad one holds up no other, and doing it again after a mend records only
what was missing. Secrets are never kept between the two: the second time they are given again.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import key_files, keys, pasting
from keyvault.audit.log import member_actor, record
from keyvault.audit.models import Action
from keyvault.ends import end_as_typed
from keyvault.errors import BadInput, KeyServiceError
from keyvault.fingerprints import fingerprint
from keyvault.inventory import visible_accounts, visible_environments
from keyvault.key_files import Row
from keyvault.keys import NewKey
from keyvault.models import Account, ApiKey, Application, Environment, KeyVersion, Member
from keyvault.permissions import Verb, may, visible_applications

MOST = 2000
T = TypeVar("T", bound=Model)


@dataclass(frozen=True)
class Defaults:
    """What counts where a row does not say it."""

    account: Account | None = None
    environment: Environment | None = None
    application: Application | None = None


@dataclass
class Fate:
    """What becomes of a row: `new`, `without` (a secret), `known`, or `bad`, with the reason."""

    line: int
    name: str
    state: str
    text: str = ""
    key: int | None = None


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
                raise BadInput(
                    _("It names no {what}, and none was chosen for all.").format(what=self.what)
                )
            return self.default
        if name not in self.found:
            self.found[name] = self.rows.filter(name__iexact=name).first()
        found = self.found[name]
        if found is None:
            raise BadInput(_("There is no such {what}.").format(what=self.what))
        return found


@dataclass
class _Places:
    """What rows may name: accounts, environments and applications that the person may see."""

    accounts: _Named[Account]
    environments: _Named[Environment]
    applications: _Named[Application]


def _places(by: Member, defaults: Defaults) -> _Places:
    return _Places(
        _Named("account", visible_accounts(by), defaults.account),
        _Named("environment", visible_environments(by), defaults.environment),
        _Named("application", visible_applications(by), defaults.application),
    )


def run(
    by: Member, text: str, defaults: Defaults, *, really: bool, unchecked: bool = False
) -> list[Fate]:
    """Say what becomes of each row, and with `really` do it, asking the vendor about each secret.

    Raises BadInput when the text as a whole cannot be read, or has more than 2000 rows; then nothing
    is recorded.
    """
    rows = key_files.read(text)
    if len(rows) > MOST:
        raise BadInput(
            _("It has {count} rows; {most} are taken at once. Nothing was stored.").format(
                count=len(rows), most=MOST
            )
        )
    places = _places(by, defaults)
    return [_one(by, row, places, really=really, unchecked=unchecked) for row in rows]


def _one(by: Member, row: Row, places: _Places, *, really: bool, unchecked: bool) -> Fate:
    name = row.values.get("name", "")
    if row.problem:
        return Fate(row.line, name, "bad", row.problem)
    try:
        new, secret = _new(row, places), row.values.get("secret", "")
        known = _known(by, new, secret)
        if known:
            return Fate(row.line, name, "known", "It is recorded already.", known.pk)
        if not secret.strip():
            return _without(by, row, new, really=really)
        if not really:
            return Fate(row.line, name, "new", _would(by, new, secret))
        added = keys.register_key(by, new, secret, unchecked=unchecked)
        notes = " ".join([added.verdict.text, *added.notes])
        return Fate(row.line, name, "new", notes, added.version.key_id)
    except KeyServiceError as error:
        return Fate(row.line, name, "bad", error.message)


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


def _known(by: Member, new: NewKey, secret: str) -> ApiKey | None:
    """Return the key of this name and place if it has this very secret, or if none was given."""
    found = ApiKey.objects.filter(
        account=new.account, environment=new.environment, name__iexact=new.name
    ).first()
    if found is None or not may(by, Verb.VIEW, found):
        return None
    if not secret.strip():
        return found
    print_of = fingerprint(pasting.clean(secret).secret)
    same = KeyVersion.objects.filter(key=found, fingerprint=print_of).exists()
    return found if same else None


def _would(by: Member, new: NewKey, secret: str) -> str:
    """Ask what can be asked without storing and without the vendor; raises as recording would."""
    keys.require_recordable(by, new)
    pasted = pasting.clean(secret)
    keys.refuse_known(by, pasted.secret)
    return " ".join(["It is checked with the vendor when it is recorded.", *pasted.notes])


def _without(by: Member, row: Row, new: NewKey, *, really: bool) -> Fate:
    text = "Without a secret: it is given by a rotation or pasted later."
    key = keys.require_recordable(by, new)
    if not really:
        return Fate(row.line, new.name, "without", text)
    try:
        with transaction.atomic():
            key.save()
            record(Action.KEY_REGISTERED, member_actor(by), key, reason="without a secret")
    except IntegrityError:
        raise BadInput(_("Somebody recorded the same name at this moment.")) from None
    return Fate(row.line, new.name, "without", text, key.pk)
