"""The door for people who come back: the same person and address, and nothing they could reach before.

Only an owner opens it. A directory that wants somebody back is refused, and the owners are told.
"""

from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.utils import timezone

from keyvault.access import invitations, members
from keyvault.access.permissions import require_owner
from keyvault.audit.actors import member_actor, system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import Conflict
from keyvault.core.secret import Secret
from keyvault.models import Grant, Group, Member
from rotation.campaigns import offboarding
from rotation.human_tasks import close_alert, is_open, open_alert
from rotation.models import HumanTask
from rotation.scheduling import calendar


def let_come_back(by: Member, member: Member) -> Secret:
    """Take a person in again who left, and return the link by which they come in, shown once.

    They keep their record, history and address, and get no role; password, passkeys, sessions and
    single sign-on of before open nothing. Whom another door deactivated is off-boarded first, so
    that what they knew is rotated. Raises Denied, and Conflict for somebody who is here.
    """
    require_owner(by, "let people come back")
    with transaction.atomic():
        here = Member.objects.select_for_update(no_key=True).get(pk=member.pk)
        if here.is_active:
            raise Conflict(f"{here} is a member already. Nothing was changed.")
        # guard: off-boarded before they come back
        if here.left_at is None:
            offboarding.finish_leaver(here)
        left_at = Member.objects.values_list("left_at", flat=True).get(pk=here.pk)
        # guard: nothing of before opens a door
        _forget(by, here)
        Member.objects.filter(pk=here.pk).update(
            is_active=True, left_at=None, returned_at=timezone.now()
        )
        record(Action.MEMBER_RETURNED, member_actor(by), here, left_at=str(left_at))
        link = invitations.new_link(by, here)
        if is_open(HumanTask.Kind.FINDING, about(here)):
            close_alert(member_actor(by), HumanTask.Kind.FINDING, about(here), "They are back.")
    member.refresh_from_db()
    return link


def _forget(by: Member, member: Member) -> None:
    """Remove all that could open something, whatever was added since they left."""
    members.reset_sign_in(by, member)
    calendar.end_feed(member)
    SocialAccount.objects.filter(user=member).delete()
    Grant.objects.filter(member=member).delete()
    Group.members.through.objects.filter(member=member).delete()
    member.groups.clear()
    member.user_permissions.clear()
    Member.objects.filter(pk=member.pk).update(is_staff=False, is_superuser=False)


def refuse(member: Member, source: str) -> Conflict:
    """Tell the owners that `source` (“the directory”) wants a leaver back; return what to raise."""
    text = (
        f"{source} says that {member} ({member.email}) is active again. They left here, and what "
        "they knew was rotated, so only an owner lets them come back: open their page under "
        "People and choose “Let them come back”. They get a new link and no role."
    )
    actor = system_actor(source)
    open_alert(actor, HumanTask.Kind.FINDING, about(member), text[:1].upper() + text[1:])
    return Conflict(
        (
            f"{member} left and does not come back by {source}: an owner lets them come back on their "
            "page under People, and has been told. Nothing was changed."
        ),
        code="left",
    )


def about(member: Member) -> str:
    """Return what the task about a refused return is about."""
    return f"return:{member.pk}"
