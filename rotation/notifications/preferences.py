"""How a person wants to be notified: by mail or not, how urgent, and when not."""

from datetime import time
from zoneinfo import available_timezones

from keyvault.core.errors import BadInput
from keyvault.core.redaction import one_line
from keyvault.models import Member
from rotation.models import NotificationPreference


def preference_of(member: Member) -> NotificationPreference:
    """Return how the person wants to be told; what nobody has chosen yet is not stored."""
    return NotificationPreference.objects.filter(member=member).first() or NotificationPreference(
        member=member
    )


def set_preference(
    by: Member,
    *,
    mail: bool,
    only_urgent: bool,
    weekly: bool,
    time_zone: str,
    quiet_from: time | None = None,
    quiet_to: time | None = None,
) -> NotificationPreference:
    """Choose how oneself is told; raises BadInput for half quiet hours or an unknown zone."""
    if time_zone not in available_timezones():
        raise BadInput(
            f"“{one_line(time_zone, 60)}” is not a known time zone. Nothing was changed."
        )
    if (quiet_from is None) != (quiet_to is None):
        raise BadInput("Quiet hours need a beginning and an end. Nothing was changed.")
    chosen, _made = NotificationPreference.objects.update_or_create(
        member=by,
        defaults={
            "mail": mail,
            "only_urgent": only_urgent,
            "weekly": weekly,
            "time_zone": time_zone,
            "quiet_from": quiet_from,
            "quiet_to": quiet_to,
        },
    )
    return chosen
