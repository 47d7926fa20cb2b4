"""The models of the rotation app, one file a subject."""

from rotation.models.campaigns import Campaign, CampaignItem
from rotation.models.consumers import Acknowledgement, ChangeFreeze, Consumer, WebhookDelivery
from rotation.models.human_task import TASK_TEXT, HumanTask
from rotation.models.monitoring import (
    AccountUsage,
    Heartbeat,
    KeyCheckSchedule,
    RestoreMarker,
    RotationPause,
)
from rotation.models.notifications import (
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationPreference,
)
from rotation.models.onboarding import OnboardingSkip, SavedView
from rotation.models.rotation import (
    AT_REST,
    ENDS,
    OPEN_STEPS,
    Attempt,
    Intent,
    Outage,
    Reason,
    Rotation,
    Step,
    WaitingFor,
)
from rotation.models.scheduling import (
    FreezeCalendar,
    MissedWindow,
    PolicyScope,
    ReplanProgress,
    RotationPolicy,
)

__all__ = [
    "AT_REST",
    "ENDS",
    "OPEN_STEPS",
    "TASK_TEXT",
    "AccountUsage",
    "Acknowledgement",
    "Attempt",
    "Campaign",
    "CampaignItem",
    "ChangeFreeze",
    "Consumer",
    "FreezeCalendar",
    "Heartbeat",
    "HumanTask",
    "Intent",
    "KeyCheckSchedule",
    "MissedWindow",
    "Notification",
    "NotificationChannel",
    "NotificationDelivery",
    "NotificationPreference",
    "OnboardingSkip",
    "Outage",
    "PolicyScope",
    "Reason",
    "ReplanProgress",
    "RestoreMarker",
    "Rotation",
    "RotationPause",
    "RotationPolicy",
    "SavedView",
    "Step",
    "WaitingFor",
    "WebhookDelivery",
]
