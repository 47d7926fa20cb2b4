"""Set a hold on a key, show the holds that stand on it, or lift one."""

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from keyvault.core.errors import BadInput
from keyvault.inventory import hold_status
from keyvault.management.base import ServiceCommand, acting_member, add_by, find_key
from keyvault.models import KeyHold
from rotation.engine import holds


class Command(ServiceCommand):
    help = "Keep every version of a key alive (--reason), show its holds, or lift one (--lift)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="Number, or account/environment/name.")
        parser.add_argument("--reason", default="", help="Why; it is on record.")
        parser.add_argument(
            "--until", default="", metavar="TIME", help="Such as 2027-03-31T18:00Z."
        )
        parser.add_argument("--lift", type=int, metavar="NUMBER", help="Lift this hold.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        key = find_key(by, options["key"])
        late: list[int] = []
        if options["lift"] is not None:
            holds.lift(by, holds.get_hold(by, options["lift"]), options["reason"])
        elif options["reason"]:
            placed = holds.place(by, key, options["reason"], _moment(options["until"]))
            late = [version.number for version in placed.late]
        standing = hold_status.holds_on(key.pk)
        told = {"key": str(key), "holds": [_facts(one) for one in standing], "late": late}
        self.say(options, told, _text(standing, late))


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"“{text[:40]}” is no time such as 2027-03-31T18:00Z.") from None
    return at if at.tzinfo else timezone.make_aware(at)


def _facts(hold: KeyHold) -> dict[str, Any]:
    ends = hold.ends_at.isoformat() if hold.ends_at else None
    return {"id": hold.pk, "reason": hold.reason, "ends_at": ends, "set_by": str(hold.set_by)}


def _text(standing: list[KeyHold], late: list[int]) -> str:
    lines = [f"{hold.pk}  {hold}" for hold in standing] or ["No hold stands on this key."]
    lines += [
        f"Version {one} was being ended already: it may be dead at the vendor." for one in late
    ]
    return "\n".join(lines)
