"""A person as a directory describes one (RFC 7643), and the documents that say what is kept.

Of these attributes the service itself uses the address, the name and whether they are active; the
rest is kept as it was said and shown to the directory alone. What is not declared here is refused:
a password, roles and entitlements among it.
"""

from functools import cache
from typing import Annotated, Any

from pydantic import Field
from scim2_models import (
    AnyExtension,
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    ComplexAttribute,
    ETag,
    ExtensibleStringEnum,
    Extension,
    Mutability,
    Name,
    Patch,
    Required,
    Resource,
    ResourceType,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models import Filter as FilterSupport
from scim2_models.urn import URN

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
MOST = 200


class Kind(ExtensibleStringEnum):
    """What an address or a number is for; others are kept as they are said."""

    WORK = "work"
    HOME = "home"
    OTHER = "other"


class Email(ComplexAttribute):
    """An e-mail address."""

    value: str | None = None
    display: str | None = None
    type: Kind | None = None
    primary: bool | None = None


class Phone(ComplexAttribute):
    """A telephone number."""

    value: str | None = None
    display: str | None = None
    type: Kind | None = None
    primary: bool | None = None


class Address(ComplexAttribute):
    """A postal address."""

    formatted: str | None = None
    street_address: str | None = None
    locality: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    type: Kind | None = None
    primary: bool | None = None


class Manager(ComplexAttribute):
    """Whom a person reports to, by the directory's own id."""

    value: str | None = None
    ref: str | None = Field(None, serialization_alias="$ref", validation_alias="$ref")
    display_name: str | None = None


class Work(Extension):
    """Where a person works in the company (the enterprise extension)."""

    __schema__ = URN("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")

    employee_number: str | None = None
    cost_center: str | None = None
    organization: str | None = None
    division: str | None = None
    department: str | None = None
    manager: Manager | None = None


class Membership(ComplexAttribute):
    """A group of the directory's: read-only by the RFC, and none is kept."""

    value: str | None = None
    display: str | None = None


class User(Resource[AnyExtension]):
    """A person."""

    __schema__ = URN(USER)

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    name: Name | None = None
    display_name: str | None = None
    nick_name: str | None = None
    profile_url: str | None = None
    title: str | None = None
    user_type: str | None = None
    preferred_language: str | None = None
    locale: str | None = None
    timezone: str | None = None
    active: bool | None = None
    emails: list[Email] | None = None
    phone_numbers: list[Phone] | None = None
    addresses: list[Address] | None = None
    groups: Annotated[list[Membership] | None, Mutability.read_only] = None


Person = User[Work]


def address_of(person: Any) -> str:
    """Return the address by which a person is known here; empty when none is said.

    That is the primary one of their e-mail addresses, else the one for work, else the first; without
    any it is the user name, if that is an address.
    """
    said = [one for one in person.emails or () if one.value]
    said.sort(key=lambda one: (not one.primary, one.type != Kind.WORK))
    name = person.user_name or ""
    chosen = said[0].value if said else name if "@" in name else ""
    return str(chosen).strip().lower()


def name_of(person: Any) -> str:
    """Return how a person is called: the displayed name, or what their name is made of."""
    parts = person.name
    whole = person.display_name or (parts and parts.formatted)
    if not whole and parts:
        whole = " ".join(filter(None, (parts.given_name, parts.family_name)))
    return (whole or "").strip()[:150]


@cache
def provider() -> ScimProvider:
    """Return what there is: one kind of resource, and which parts of the protocol."""
    off: dict[str, Any] = {"supported": False}
    config = ServiceProviderConfig(
        patch=Patch(supported=True),
        filter=FilterSupport(supported=True, max_results=MOST),
        bulk=Bulk(**off, max_operations=0, max_payload_size=0),
        change_password=ChangePassword(**off),
        sort=Sort(**off),
        etag=ETag(**off),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="SCIM_TOKEN",
            )
        ],
    )
    types = [ResourceType.from_resource(Person)]
    return ScimProvider(models=[User, Work], resource_types=types, config=config)
