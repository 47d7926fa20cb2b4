"""What people are told of the company's directory, and what it gave up asking for."""

from keyvault.access import roles
from keyvault.audit.actors import system_actor
from keyvault.models import Member
from rotation.campaigns import reinstatement
from rotation.human_tasks import close_alert, is_open
from rotation.models import HumanTask, Notification
from rotation.notifications import notify


def no_return_asked(member: Member) -> None:
    """Close the task about a refused return: they are back, or the directory has them inactive too."""
    about = reinstatement.about(member)
    if is_open(HumanTask.Kind.FINDING, about):
        outcome = "They are active." if member.is_active else "The directory has them inactive too."
        actor = system_actor("the directory of people (SCIM)")
        close_alert(actor, HumanTask.Kind.FINDING, about, outcome)


def tell_owners(about: str, title: str, text: str) -> None:
    """Tell the owners once for one cause."""
    news = notify.NewNotification(
        about=about, kind=Notification.Kind.TASK, title=title, text=text, link="/people/"
    )
    notify.notify(news, roles.owners())
