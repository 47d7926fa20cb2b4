"""Record a key that exists at the vendor already; its secret comes by standard input only."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from keyvault.access.permissions import visible_applications
from keyvault.core.dates import end_as_typed
from keyvault.inventory import catalog
from keyvault.inventory.keys import Added, NewKey, register_key
from keyvault.management.base import (
    ServiceCommand,
    acting_member,
    add_by,
    facts,
    find,
    find_member,
    read_secret,
)
from keyvault.models import Member


class Command(ServiceCommand):
    help = "Record a key and its secret; the secret is read from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, help="Name or number of the account.")
        parser.add_argument("--environment", required=True, help="Name or number.")
        owner = parser.add_mutually_exclusive_group(required=True)
        owner.add_argument("--application", help="Name or number of the owning application.")
        owner.add_argument("--member", metavar="EMAIL", help="For a person's own key.")
        parser.add_argument("--name", required=True, help="What people will call the key.")
        parser.add_argument("--purpose", default="", help="What it is for, in a sentence.")
        parser.add_argument("--vendor-id", default="", help="The vendor's own id of the key.")
        parser.add_argument(
            "--expires",
            default="",
            metavar="WHEN",
            help="When the vendor ends it: a date (its start, UTC) or a time (UTC, or with offset).",
        )
        parser.add_argument(
            "--unchecked",
            action="store_true",
            help="Record it even if the vendor cannot be asked now; a refused key never is.",
        )
        parser.add_argument(
            "--as-it-is",
            action="store_true",
            help="The key really looks so, and is this vendor's: it is sent there to be checked.",
        )
        parser.add_argument(
            "--name-is-right",
            action="store_true",
            help="Take a name that looks like a secret; one that is a known secret is never taken.",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        new = _new_key(by, options)
        said = {name: options[name] for name in ("unchecked", "as_it_is")}
        added = register_key(by, new, read_secret("Secret"), **said)
        answer = _answer(added)
        notes = "".join(f"\n{note}" for note in added.notes)
        self.say(options, answer, facts({k: v for k, v in answer.items() if k != "notes"}) + notes)


def _new_key(by: Member, options: dict[str, Any]) -> NewKey:
    application, member = options["application"], options["member"]
    return NewKey(
        account=find(catalog.visible_accounts(by), options["account"], "account"),
        environment=find(catalog.visible_environments(by), options["environment"], "environment"),
        application=find(visible_applications(by), application, "application")
        if application
        else None,
        member=find_member(member) if member else None,
        name=options["name"],
        purpose=options["purpose"],
        vendor_id=options["vendor_id"],
        expires_at=end_as_typed(options["expires"], timezone.now()),
        name_is_right=options["name_is_right"],
    )


def _answer(added: Added) -> dict[str, Any]:
    return {
        "key": added.version.key_id,
        "name": str(added.version.key),
        "version": added.version.number,
        "expires_at": added.version.expires_at,
        "answer": added.verdict.answer,
        "text": added.verdict.text,
        "notes": added.notes,
    }
