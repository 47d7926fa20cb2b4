"""Plain functions that make what tests need, through the doors wherever there is one."""

import secrets
from dataclasses import dataclass, field
from typing import Any

from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import ApiKey, Application, Environment, Grant, Member, Role, VendorAccount

PASSWORD = "correct horse battery staple"
# PBKDF2 takes half a second by design; one hash serves the whole cast.
_HASH: list[str] = []


@dataclass
class Place:
    """One application in two environments, with an automatic and a manual vendor account."""

    application: Application
    environment: Environment
    production: Environment
    api_account: VendorAccount
    manual_account: VendorAccount
    vendor_api: Any = field(repr=False)
    vendor_manual: Any = field(repr=False)


def make_member(email: str, **options: Any) -> Member:
    """Create a person whose password is PASSWORD."""
    from django.contrib.auth.hashers import make_password

    if not _HASH:
        _HASH.append(make_password(PASSWORD))
    return Member.objects.create(
        username=email, email=email, password=_HASH[0], first_name=email.split("@", 1)[0], **options
    )


def grant(member: Member, role: Role, **scope: Any) -> Member:
    """Give a role and return the member."""
    Grant.objects.create(member=member, role=role, **scope)
    return member


def make_people(place: Place) -> Any:
    """Create the cast."""
    from tests.conftest import People

    here = {"application": place.application}
    return People(
        owner=grant(make_member("owner@example.com", is_staff=True), Role.OWNER),
        operator=grant(make_member("operator@example.com"), Role.OPERATOR, **here),
        developer=grant(make_member("developer@example.com"), Role.DEVELOPER, **here),
        viewer=grant(make_member("viewer@example.com"), Role.VIEWER, **here),
        auditor=grant(make_member("auditor@example.com"), Role.AUDITOR),
        outsider=make_member("outsider@example.com"),
        password=PASSWORD,
    )


def make_place(vendor: Any) -> Place:
    """Create the place, with two fresh accounts at the sandbox vendor."""
    import uuid

    from keyvault.vault import secret_store

    api = vendor.create_account("automatic")
    manual = vendor.create_account("manual")
    path = uuid.uuid4()
    secret_store.write_once("accounts", path, {"credential": api["management_credential"]})
    return Place(
        application=Application.objects.create(name="Billing", team="Payments"),
        environment=Environment.objects.create(name="Development"),
        production=Environment.objects.create(name="Production", is_production=True, position=1),
        api_account=VendorAccount.objects.create(
            name="Sandbox",
            provider="sandbox",
            base_url=vendor.url,
            dashboard_url=vendor.url,
            management_path=path,
        ),
        manual_account=VendorAccount.objects.create(
            name="Influtics",
            provider="influtics",
            base_url=vendor.url,
            dashboard_url=vendor.url,
        ),
        vendor_api=api,
        vendor_manual=manual,
    )


def make_key(
    vendor: Any, place: Place, by: Member, *, manual: bool = False, name: str = "", **options: Any
) -> ApiKey:
    """Make a key at the vendor and register it, owned by the place's application."""
    account = place.manual_account if manual else place.api_account
    at_vendor = place.vendor_manual if manual else place.vendor_api
    made = vendor.create_key(at_vendor["id"], label="made by hand")
    new = NewKey(
        account=account,
        environment=options.pop("environment", place.environment),
        application=options.pop("application", place.application),
        name=name or f"key-{secrets.token_hex(3)}",
        vendor_id="" if manual else made["id"],
    )
    return register_key(by, new, made["key"]).version.key


def lone_key(vendor: Any, place: Place, by: Member, **options: Any) -> ApiKey:
    """Make a key with an application of its own: those of one application rotate in turn."""
    own = Application.objects.create(name=f"app-{secrets.token_hex(3)}")
    return make_key(vendor, place, by, application=own, **options)


def secret_of(version: Any) -> str:
    """Return the plain secret of a version, for tests that compare."""
    from keyvault.inventory import versions

    return versions.read_secret(version).reveal()


def show(member: Member, key: ApiKey, reason: str = "a good reason", **wish: Any) -> Any:
    """Reveal the current secret to a member who has just proved who they are."""
    from keyvault.inventory.reveal import Wish, reveal

    return reveal(member, key, Wish(reason, **{"proved": True, **wish}))
