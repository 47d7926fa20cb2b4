"""What people are told, once for one cause, and each message that carries it to somebody."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from keyvault.models import ApiKey, Application, Member, name_field


class Notification(models.Model):
    """Something that happened; `about` names the cause, so that it is told once."""

    class Kind(models.TextChoices):
        TASK = "task", "Something waits for a person"
        REMINDER = "reminder", "It still waits"
        INCIDENT = "incident", "Something is wrong now"
        EXPIRY = "expiry", "A key ends soon"
        OVERDUE = "overdue", "A rotation is overdue"
        FAILED = "failed", "A rotation failed"
        RECOVERY = "recovery", "It is over"
        DIGEST = "digest", "The week"
        TEST = "test", "A test"

    about = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    title = models.CharField(max_length=200)
    text = models.TextField(max_length=4000)
    urgent = models.BooleanField(default=False)
    link = models.CharField(max_length=200, blank=True, default="")
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.CASCADE, related_name="notices")
    task = models.ForeignKey(
        "rotation.HumanTask", null=True, on_delete=models.SET_NULL, related_name="notices"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rotation_notice"
        ordering = ["-pk"]
        indexes = [models.Index(fields=["created_at"], name="notice_age")]

    def __str__(self) -> str:
        return self.title


class NotificationChannel(models.Model):
    """A place that is told: a chat's incoming webhook, or a program that checks our signature.

    The address is as good as a password at most chats, so it lies in Vault; here is its host alone.
    """

    class Kind(models.TextChoices):
        CHAT = "chat", "Slack or a chat that speaks like it"
        SIGNED = "signed", "A program (signed webhook)"
        APPRISE = "apprise", "Another chat or a pager, by Apprise"

    name = name_field()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    host = models.CharField(max_length=255)
    path = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    # Only what is about this application; everything when there is none.
    application = models.ForeignKey(
        Application, null=True, blank=True, on_delete=models.CASCADE, related_name="hooks"
    )
    only_urgent = models.BooleanField(default=False)
    created_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rotation_hook"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["name"], name="hook_name")]

    def __str__(self) -> str:
        return self.name


class NotificationDelivery(models.Model):
    """A notice on its way to one person by one channel, or to a hook."""

    class Channel(models.TextChoices):
        CONSOLE = "console", "Console"
        MAIL = "mail", "Mail"
        HOOK = "hook", "Hook"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        DROPPED = "dropped", "Dropped"

    notice = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="messages")
    channel = models.CharField(max_length=10, choices=Channel.choices)
    member = models.ForeignKey(Member, null=True, on_delete=models.CASCADE, related_name="messages")
    hook = models.ForeignKey(
        NotificationChannel, null=True, on_delete=models.CASCADE, related_name="messages"
    )
    # An address that belongs to no member: an application's contact.
    address = models.EmailField(blank=True, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    message_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    due_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "rotation_message"
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "channel", "member", "hook", "address"],
                nulls_distinct=False,
                name="message_once",
            )
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="message_due"),
            models.Index(
                fields=["member", "-id"], condition=Q(channel="console"), name="message_inbox"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.notice} by {self.channel} to {self.member or self.hook or self.address}"


def default_zone() -> str:
    """Return the installation's zone, in which pages show times to whoever has chosen no other."""
    return str(settings.TIME_ZONE)


class NotificationPreference(models.Model):
    """How a person wants to be told. Incidents come whatever is chosen here."""

    member = models.OneToOneField(Member, on_delete=models.CASCADE, related_name="preference")
    mail = models.BooleanField(default=True)
    only_urgent = models.BooleanField(default=False)
    weekly = models.BooleanField(default=True)
    time_zone = models.CharField(max_length=60, default=default_zone)
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_to = models.TimeField(null=True, blank=True)
    # Of the address of their calendar feed; empty when there is none.
    feed_digest = models.CharField(
        max_length=64, blank=True, default="", editable=False, db_index=True
    )

    class Meta:
        db_table = "rotation_preference"

    def __str__(self) -> str:
        return f"preferences of {self.member}"
