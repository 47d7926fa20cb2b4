"""Ask the vendor about a key's current secret; exit 0 valid, 1 refused, 2 cannot tell."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from keyvault.inventory.keys import check_key
from keyvault.management.base import ServiceCommand, acting_member, add_by, facts, find_key
from keyvault.vendors.base import CANNOT_TELL, REFUSED, VALID

EXIT = {VALID: 0, REFUSED: 1, CANNOT_TELL: 2}


class Command(ServiceCommand):
    help = "Ask the vendor whether a key's current secret is valid (0), refused (1), unclear (2)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="Number, or account/environment/name.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        key = find_key(by, options["key"])
        verdict = check_key(by, key)
        answer = {
            "key": key.pk,
            "name": str(key),
            "version": key.current.number if key.current else None,
            "answer": verdict.answer,
            "text": verdict.text,
        }
        self.say(options, answer, facts(answer))
        sys.exit(EXIT[verdict.answer])
