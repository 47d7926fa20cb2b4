"""Retire a key that nobody needs any more; the worker goes on with it."""

from typing import Any

from django.core.management.base import CommandParser

from keyvault.management.base import ServiceCommand, acting_member, add_by, find_key
from rotation.engine import retirement


class Command(ServiceCommand):
    help = "Retire a key: told, proven unused, ended at the vendor, destroyed, archived."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="Number, or account/environment/name.")
        parser.add_argument("--reason", required=True, help="Why nobody needs it; on record.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        key = find_key(by, options["key"])
        rotation = retirement.retire(by, key, options["reason"])
        told = {"rotation": rotation.pk, "key": key.pk, "name": str(key)}
        self.say(options, told, f"Rotation {rotation.pk} retires {key}. It can be cancelled still.")
