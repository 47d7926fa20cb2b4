"""Ask people for the standbys that policies say a key is to have, and thank them when they are there."""

from django.db.models import Count, F, Q

from keyvault.audit.actors import Actor, system_actor
from keyvault.models import VersionState
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, RotationPolicy

_ABOUT = "standbys:"
_MOST = 500


def ask() -> None:
    """Open a question for each key that has too few standbys, and close those that are answered."""
    here = Count("key__versions", filter=Q(key__versions__state=VersionState.STANDBY))
    short = RotationPolicy.objects.filter(standbys__gt=0).annotate(here=here)
    missing = {
        f"{_ABOUT}{one.key_id}": one
        for one in short.filter(here__lt=F("standbys"))
        .select_related("key__account", "key__environment")
        .order_by("pk")[:_MOST]
    }
    asked = set(
        HumanTask.objects.filter(
            kind=HumanTask.Kind.FINDING, closed_at__isnull=True, about__startswith=_ABOUT
        ).values_list("about", flat=True)
    )
    for about in asked - set(missing):
        close_alert(_actor(), HumanTask.Kind.FINDING, about, "Its standbys are there.")
    for about, policy in missing.items():
        if about not in asked:
            _open(about, policy)


def _open(about: str, policy: RotationPolicy) -> None:
    key = policy.key
    text = (
        f"{key} is to have {policy.standbys} standby made ahead of time and has fewer. Make one at "
        "the vendor and add it on the key's page; the next rotation then needs no person to begin."
    )
    open_alert(_actor(), HumanTask.Kind.FINDING, about, text, account=key.account, key=key)


def _actor() -> Actor:
    return system_actor("standbys")
