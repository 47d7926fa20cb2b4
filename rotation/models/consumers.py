"""Who holds keys, what they proved to hold, what they must be told, and when nothing may move."""

import uuid

from django.db import models
from django.db.models import Q

from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    KeyVersion,
    ServiceToken,
    name_field,
)
from rotation import recurrence


class Consumer(models.Model):
    """One running place that holds an application's keys in one environment.

    It fetches with its service token, may be told by webhook, and acknowledges with a proof.
    """

    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="consumers")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="consumers")
    name = name_field()
    token = models.OneToOneField(ServiceToken, on_delete=models.PROTECT, related_name="consumer")
    webhook_url = models.URLField(max_length=500, blank=True, default="")
    webhook_path = models.UUIDField(null=True, blank=True, editable=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["application", "environment", "name"], name="consumer_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.application} in {self.environment})"


class Acknowledgement(models.Model):
    """The last version of a key that a consumer proved to hold, and when."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="acknowledged")
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="acknowledged")
    version = models.ForeignKey(KeyVersion, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["consumer", "key"], name="ack_once")]

    def __str__(self) -> str:
        return f"{self.consumer} holds version {self.version_id}"


class WebhookDelivery(models.Model):
    """A webhook to be sent: the outbox row that stands in the same transaction as its cause."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="deliveries")
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="deliveries")
    version = models.ForeignKey(KeyVersion, on_delete=models.CASCADE, related_name="+")
    message_id = models.UUIDField(default=uuid.uuid4, unique=True)
    event = models.CharField(max_length=30, default="key.updated")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "rotation_delivery"
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="delivery_due"),
            models.Index(fields=["key", "-id"], name="delivery_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.consumer}: {self.state}"


class ChangeFreeze(models.Model):
    """Days on which nothing rotates by itself, everywhere or in one environment; both ends count."""

    name = name_field()
    first_day = models.DateField()
    last_day = models.DateField()
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="freezes"
    )
    # A recurrence rule (RFC 5545): it comes again for as many days, counted from the first day.
    rule = models.CharField(max_length=200, blank=True, default="")
    # The calendar that it comes from, and with which it changes and goes.
    feed = models.ForeignKey(
        "rotation.FreezeCalendar",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="freezes",
    )

    class Meta:
        db_table = "rotation_freeze"
        ordering = ["first_day"]
        constraints = [
            models.CheckConstraint(
                name="freeze_in_order", condition=Q(last_day__gte=models.F("first_day"))
            )
        ]

    def __str__(self) -> str:
        where = f" in {self.environment}" if self.environment else ""
        again = f", again {recurrence.words(self.rule)}" if self.rule else ""
        return f"{self.name}{where}: {self.first_day} to {self.last_day}{again}"
