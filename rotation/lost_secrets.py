"""Tell people of a key that lives on at the vendor while its secret is lost to us: only they can end it."""

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from keyvault.audit.actors import Actor, system_actor
from keyvault.models import LIVE_STATES, ApiKey, KeyVersion, VendorAccount
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, Rotation, Step

_ABOUT = "lost:"
_INCIDENT = "lost-secret:"
_TOLD_FOR = timedelta(days=30)
_BATCH = 50


def tell(
    actor: Actor,
    fingerprint: str,
    text: str,
    *,
    key: ApiKey | None = None,
    account: VendorAccount | None = None,
) -> None:
    """Open an alert about the lost secret of this fingerprint, once."""
    about = f"{_ABOUT}{fingerprint}"
    open_alert(actor, HumanTask.Kind.FINDING, about, text, key=key, account=account)


def tell_incident(actor: Actor, version: KeyVersion, text: str) -> None:
    """Tell at once of a lost secret that applications are to be given; once for each version."""
    about, key = f"{_INCIDENT}{version.pk}", version.key
    open_alert(
        actor, HumanTask.Kind.INCIDENT, about, text, key=key, account=key.account, version=version
    )


def close_over() -> None:
    """Close what is over, of both kinds."""
    _close_lost()
    _close_incidents()


def _close_incidents() -> None:
    """Close an incident once a rotation after it was done."""
    told = HumanTask.objects.filter(
        kind=HumanTask.Kind.INCIDENT, closed_at=None, about__startswith=_INCIDENT
    )
    later = Rotation.objects.filter(
        key=OuterRef("key"), step=Step.DONE, finished_at__gt=OuterRef("opened_at")
    )
    actor = system_actor("lost secrets")
    for about in told.filter(Exists(later)).values_list("about", flat=True)[:_BATCH]:
        close_alert(actor, HumanTask.Kind.INCIDENT, about, "The key was rotated since.")


def _close_lost() -> None:
    """Close what was told of a secret once it is on record again, or everybody has had time to look."""
    told = HumanTask.objects.filter(
        kind=HumanTask.Kind.FINDING, closed_at=None, about__startswith=_ABOUT
    )
    actor = system_actor("lost secrets")
    for about, opened in told.order_by("pk").values_list("about", "opened_at")[:_BATCH]:
        known = KeyVersion.objects.filter(
            fingerprint=about.removeprefix(_ABOUT), state__in=LIVE_STATES
        )
        if known.exists():
            close_alert(actor, HumanTask.Kind.FINDING, about, "The key was recorded since.")
        elif timezone.now() - opened > _TOLD_FOR:
            close_alert(actor, HumanTask.Kind.FINDING, about, "Told for thirty days.")
