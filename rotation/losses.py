"""Tell people of a key that lives on at the vendor while its secret is lost to us: only they can end it."""

from datetime import timedelta

from django.utils import timezone

from keyvault.audit.log import Actor, system_actor
from keyvault.models import LIVE_STATES, Account, ApiKey, KeyVersion
from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask

_ABOUT = "lost:"
_TOLD_FOR = timedelta(days=30)
_BATCH = 50


def tell(
    actor: Actor,
    fingerprint: str,
    text: str,
    *,
    key: ApiKey | None = None,
    account: Account | None = None,
) -> None:
    """Open an alert about the lost secret of this fingerprint, once."""
    about = f"{_ABOUT}{fingerprint}"
    open_alert(actor, HumanTask.Kind.FINDING, about, text, key=key, account=account)


def close_over() -> None:
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
