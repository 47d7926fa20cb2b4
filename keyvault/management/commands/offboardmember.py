"""Show what a person who leaves could reach, and with --yes take it all back at once."""

from typing import Any

from django.core.management.base import CommandParser

from keyvault.management.base import ServiceCommand, acting_member, add_by, find_member
from keyvault.models import Member
from rotation.campaigns import offboarding
from rotation.campaigns.offboarding import Done, Plan


class Command(ServiceCommand):
    help = "Off-board a person: sessions, roles and tokens end, and what they know is rotated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="Who leaves.")
        parser.add_argument("--yes", action="store_true", help="Do it; without, only show it.")
        parser.add_argument("--heir", metavar="EMAIL", help="Who gets their keys (else --by).")
        parser.add_argument(
            "--grace-hours",
            type=int,
            default=0,
            metavar="N",
            help="Let their service tokens go on for so long (0: they end at once).",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        member = find_member(options["email"])
        if not options["yes"]:
            plan = offboarding.plan(by, member)
            self.say(options, _facts(plan), _text(plan) + "\nNothing was changed. Add --yes.")
            return
        heir: Member = find_member(options["heir"]) if options["heir"] else by
        done = offboarding.off_board(by, member, heir=heir, token_hours=options["grace_hours"])
        told = {**_facts(done.plan), "campaign": done.campaign.pk if done.campaign else None}
        self.say(options, told, f"{_text(done.plan)}\n{_outcome(done)}")


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "member": plan.member.email,
        "keys": [{"id": one.key.pk, "key": str(one.key), "how": one.how} for one in plan.exposures],
        "owned": [str(key) for key in plan.owned],
        "tokens": [token.public_id for token in plan.tokens],
        "roles": [str(grant) for grant in plan.grants],
        "groups": [str(group) for group in plan.groups],
        "sessions": plan.sessions,
    }


def _text(plan: Plan) -> str:
    lines = [
        f"{plan.member}: {plan.sessions} sessions, {len(plan.grants)} roles, "
        f"{len(plan.groups)} groups, {len(plan.tokens)} service tokens, "
        f"{len(plan.owned)} own keys, {len(plan.exposures)} keys to rotate."
    ]
    lines += [f"  rotate {one.key}: {', '.join(one.how)}" for one in plan.exposures]
    lines += [f"  token {token} kvt_{token.public_id}…" for token in plan.tokens]
    return "\n".join(lines)


def _outcome(done: Done) -> str:
    if done.campaign is None:
        return "Done. There was nothing to rotate."
    return f"Done. Campaign {done.campaign.pk} rotates the keys: see it in the console or the API."
