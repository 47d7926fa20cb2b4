"""Fill a fresh installation with what the sandbox shows; a second run changes nothing."""

import json
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Model, QuerySet

from keyvault.core.secret import Secret
from keyvault.inventory import catalog
from keyvault.inventory.accounts import add_account
from keyvault.inventory.keys import NewKey, register_key
from keyvault.management.base import (
    ServiceCommand,
    acting_member,
    add_by,
    facts,
    read_input,
    wrong_usage,
)
from keyvault.models import ApiKey, Application, Environment, Member, VendorAccount
from rotation.consumers.registry import NewConsumer, add_consumer
from rotation.models import Consumer

_SECRETS = ("management_credential", "api_secret", "manual_secret")
_KNOWN = {*_SECRETS, "api_key_vendor_id", "webhook_url"}


@dataclass
class Place:
    """Where the sandbox's keys live."""

    application: Application
    production: Environment
    api_account: VendorAccount
    manual_account: VendorAccount


class Command(ServiceCommand):
    help = "Create the sandbox's accounts, application and keys from a JSON object on stdin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--vendor-url", required=True, help="The sandbox vendor's API.")
        parser.add_argument("--dashboard-url", required=True, help="Its dashboard, for people.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = _given()
        by = acting_member(options)
        place = _place(by, given, options["vendor_url"], options["dashboard_url"])
        api, manual = place.api_account, place.manual_account
        vendor_id = given.get("api_key_vendor_id", "")
        key = _key(by, place, api, "billing-dashboard", given.get("api_secret"), vendor_id)
        manual_key = _key(
            by, place, manual, "billing-dashboard-influtics", given.get("manual_secret")
        )
        answer = _answer(place, key, manual_key, _consumer(by, place, given.get("webhook_url", "")))
        self.say(options, answer, _told(answer))


def _given() -> dict[str, str]:
    """Return the object on stdin; its secrets are hidden in logs and messages from here on."""
    try:
        given = json.loads(read_input("JSON object"))
    except json.JSONDecodeError:
        # Without the decoder's words: they may quote a secret.
        raise wrong_usage("Standard input must be one JSON object; this is not JSON.") from None
    if not isinstance(given, dict) or not all(isinstance(v, str | None) for v in given.values()):
        raise wrong_usage("Standard input must be one JSON object of texts.")
    unknown = sorted(set(given) - _KNOWN)
    if unknown or not given.get("management_credential"):
        raise wrong_usage(
            f"The JSON object needs management_credential, and knows {', '.join(sorted(_KNOWN))}."
        )
    for name in _SECRETS:
        Secret(given.get(name) or "")
    return {name: value for name, value in given.items() if value}


def _place(by: Member, given: dict[str, str], vendor_url: str, dashboard_url: str) -> Place:
    urls: Any = {"base_url": vendor_url, "dashboard_url": dashboard_url}
    _named(Environment, "Development") or catalog.add_environment(by, "Development")
    return Place(
        production=_named(Environment, "Production")
        or catalog.add_environment(by, "Production", is_production=True),
        application=_named(Application, "Billing dashboard")
        or catalog.add_application(by, "Billing dashboard"),
        api_account=_named(VendorAccount, "Sandbox vendor")
        or add_account(
            by,
            name="Sandbox vendor",
            provider="sandbox",
            management_credential=given["management_credential"],
            **urls,
        ),
        manual_account=_named(VendorAccount, "Influtics")
        or add_account(by, name="Influtics", provider="influtics", **urls),
    )


def _named(model: type[Model], name: str) -> Any:
    things: QuerySet[Any] = model._default_manager.filter(name__iexact=name)
    return things.first()


def _key(
    by: Member,
    place: Place,
    account: VendorAccount,
    name: str,
    secret: str | None,
    vendor_id: str = "",
) -> ApiKey | None:
    """Return the key of this name, recorded now if it is new and its secret was given."""
    known = ApiKey.objects.filter(
        account=account, environment=place.production, name__iexact=name
    ).first()
    if known or not secret:
        return known
    new = NewKey(
        account=account,
        environment=place.production,
        application=place.application,
        name=name,
        purpose="The sample application calls the sandbox vendor with it.",
        vendor_id=vendor_id,
    )
    return register_key(by, new, secret).version.key


def _consumer(by: Member, place: Place, webhook_url: str) -> NewConsumer | None:
    """Record the sample application's running place; None when it is there already."""
    if Consumer.objects.filter(
        application=place.application, environment=place.production, name="sample-app"
    ).exists():
        return None
    return add_consumer(
        by, "sample-app", place.application, place.production, webhook_url=webhook_url
    )


def _told(answer: dict[str, Any]) -> str:
    """Return the answer for people; token and webhook secret stand in it as they are, this once."""
    shown_once = ("token", "webhook_secret")
    ids = facts({name: value for name, value in answer.items() if name not in shown_once})
    return "\n".join([ids, *(f"{name}  {answer[name]}" for name in shown_once if answer[name])])


def _answer(
    place: Place, key: ApiKey | None, manual_key: ApiKey | None, made: NewConsumer | None
) -> dict[str, Any]:
    """Return the ids, and the token and webhook secret if they exist since just now."""
    webhook_secret = made.webhook_secret if made else None
    return {
        "api_account": place.api_account.pk,
        "manual_account": place.manual_account.pk,
        "application": place.application.pk,
        "environment": place.production.pk,
        "key": key.pk if key else None,
        "manual_key": manual_key.pk if manual_key else None,
        "token": made.token.reveal() if made else None,
        "webhook_secret": webhook_secret.reveal() if webhook_secret else None,
    }
