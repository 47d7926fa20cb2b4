"""Whether a text is this vendor's key, as far as its form and its name can tell.

To check a key is to send it: a database's address or somebody else's key must not go to a vendor as a
bearer token. So what is not known to be the vendor's needs a person's word, row by row.
"""

import re
from dataclasses import dataclass

from keyvault.core.errors import BadInput
from keyvault.inventory import placeholders, secret_input, secret_patterns
from keyvault.inventory.placeholders import Question
from keyvault.inventory.secret_input import Pasted
from keyvault.inventory.vendor_gateway import provider_of
from keyvault.models import VendorAccount
from keyvault.vendors import PROVIDERS

# Variables that tools write beside the secrets of people, whatever their values look like.
_OF_TOOLS = re.compile(
    r"(?i)(?:DOPPLER|VERCEL|NX|TURBO|INFISICAL|DOTENV|SOPS|NETLIFY|RENDER|RAILWAY|HEROKU|FLY|CI|"
    r"GITHUB|GITLAB|KUBERNETES|NODE|NPM_CONFIG)_|VERCEL$|CI$"
)
_CONFIGURING = re.compile(
    r"ur[li]|host(?:name)?|port|addr(?:ess)?|dsn|region|zone|user(?:name)?|login|e?mail|domain|ids?|"
    r"uuid|name|mode|env|environment|debug|level|version|timeout|path|dir|file|bucket|endpoint|public|"
    r"publishable|project|org|organization|workspace|tenant|account|webhook|signing|(?:en|dis)abled|"
    r"format|ttl|size|limit|count|database|db|scope|origin|redirect|callback"
)
_CALLED_KEY = re.compile(r"(?:api)?keys?|tokens?|secrets?|credentials?|auth")
_OTHER_KEYS = re.compile(r"webhooks?|signing|public|publishable|ids?|ur[li]|encryption")
_SETTING = re.compile(
    r"(?is)true|false|yes|no|on|off|null|none|[+-]?\d+(?:\.\d+)?(?:ms|s|m|h|d|kb|mb|gb)?|"
    r"localhost(?::\d+)?|(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|[\[{].*[\]}]|"
    r"development|production|staging|preview|test|debug|info|warn(?:ing)?|error"
)
_PLACE = re.compile(
    r"(?i)[^@\s]+@[^@\s]+\.[a-z]{2,}|(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?|\.{0,2}/[\w./-]*"
)
_ADDRESS = re.compile(
    r"(?i)[a-z][a-z0-9+.-]*://|jdbc:|(?:Server|Host|Data Source|Endpoint|AccountName|"
    r"DefaultEndpointsProtocol)=[^;]*;"
)


@dataclass(frozen=True)
class Signs:
    """By what a vendor's keys are known; a shape and names may be unknown.

    `shape` is of a whole key. A variable is the vendor's if a word of its name is one of `names`.
    `others` are the shapes of other vendors that this installation knows, by their names.
    """

    vendor: str
    shape: "re.Pattern[str] | None" = None
    names: tuple[str, ...] = ()
    others: tuple[tuple[str, "re.Pattern[str]"], ...] = ()

    def has_shape(self, text: str) -> bool:
        """Return whether a whole key of this vendor looks like `text`."""
        return self.shape is not None and self.shape.fullmatch(text) is not None

    def has_name(self, name: str) -> bool:
        """Return whether a variable of this name holds a key of this vendor, and no setting of it."""
        words = _words(name)
        ours = {one.casefold() for one in self.names} & words
        return bool(ours) and not _any(_OTHER_KEYS, words) and not _is_setting(words)


@dataclass(frozen=True)
class Doubt:
    """Why a text may not be sent to a vendor without a person's word."""

    text: str
    is_setting: bool = False


def signs_of(account: VendorAccount) -> Signs:
    """Return by what keys of the account's vendor are known: their shape, the names of variables."""
    ours = provider_of(account)
    others = tuple(
        (one.name, re.compile(one.shape))
        for one in PROVIDERS.values()
        if one.shape and one.shape != ours.shape
    )
    shape = re.compile(ours.shape) if ours.shape else None
    return Signs(ours.name, shape, ours.env_names, others)


def take(account: VendorAccount, text: str, *, as_it_is: bool = False) -> Pasted:
    """Return the secret that one person pasted for one account, or raise as `pasting.clean` does.

    Raises Question as well for what belongs to somebody else, unless the person says `as_it_is`.
    """
    pasted = secret_input.clean(text, as_it_is=as_it_is)
    doubt = foreign(signs_of(account), pasted.secret.reveal())
    # guard: one pasted key of somebody else is asked about
    if doubt and not as_it_is:
        raise Question(doubt.text, code="not_this_vendors")
    return pasted


def foreign(signs: Signs, value: str) -> Doubt | None:
    """Return the doubt that a value alone raises: an address, a session's token, another vendor's."""
    if signs.has_shape(value):
        return None
    maker = secret_patterns.maker(value) or next(
        (vendor for vendor, shape in signs.others if shape.fullmatch(value)), ""
    )
    if maker and maker.casefold() != signs.vendor.casefold():
        return Doubt(f"It looks like a secret of {maker}, not of {signs.vendor}.")
    if secret_patterns.is_web_token(value):
        return Doubt(
            f"It is a signed token (JWT), as sign-ins hand out, and no key of {signs.vendor}."
        )
    if _ADDRESS.match(value):
        return Doubt("It is an address: configuration, not a key.", is_setting=True)
    return None


def doubt(signs: Signs, name: str, value: str) -> Doubt | None:
    """Return why the row of a file may not be sent to the vendor; None where it is the vendor's.

    Raises BadInput for what is no key at all.
    """
    value = value.strip()
    if _OF_TOOLS.match(name):
        return Doubt("Its name is one that a tool writes: configuration.", is_setting=True)
    if _ADDRESS.match(value) and not _is_reference(value):
        return Doubt("It is an address: configuration, not a key.", is_setting=True)
    placeholders.refuse(value[: secret_input.MAX_LENGTH])
    found = foreign(signs, value)
    if found or signs.has_shape(value):
        return found
    if _SETTING.fullmatch(value):
        return Doubt("Its value is a setting or a document, not a key.", is_setting=True)
    if signs.has_name(name):
        return None
    if _is_setting(_words(name)) or _PLACE.fullmatch(value):
        return Doubt("It is a setting by its name or its value, not a key.", is_setting=True)
    return Doubt(f"Neither its name nor its form says that it is a key of {signs.vendor}.")


def _is_reference(value: str) -> bool:
    """An address that is a reference is named as one; one with ${…} in it is a setting all the same."""
    try:
        placeholders.refuse(value[: secret_input.MAX_LENGTH].replace("${", ""))
    except BadInput as error:
        return error.code == "reference"
    return False


def _words(name: str) -> set[str]:
    return {word.casefold() for word in re.split(r"[^A-Za-z0-9]+", name)}


def _is_setting(words: set[str]) -> bool:
    return _any(_CONFIGURING, words) and not _any(_CALLED_KEY, words)


def _any(shape: "re.Pattern[str]", words: set[str]) -> bool:
    return any(shape.fullmatch(word) for word in words)
