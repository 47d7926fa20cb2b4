"""What people must do."""

from django.db import models
from django.db.models import Q

from keyvault.models import (
    ApiKey,
    KeyVersion,
    Member,
    VendorAccount,
)
from rotation.models.rotation import Rotation

# Long enough to name every key that is in the way.
TASK_TEXT = 4000


class HumanTask(models.Model):
    """Something only a person can do; closed by a proof, not by a tick.

    Most belong to a rotation. An alert belongs to none: `about` says what it is about, and at most
    one of a kind is open about the same thing.
    """

    class Kind(models.TextChoices):
        PASTE = "paste", "Make a key and paste it"
        DELETE = "delete", "Delete a key at the vendor"
        CONFIRM = "confirm", "Confirm that consumers moved"
        LOOK = "look", "Look into a problem"
        OUTAGE = "outage", "A vendor or the secret store is away"
        INCIDENT = "incident", "A key stopped working"
        FINDING = "finding", "Something does not add up"
        REVIEW = "review", "Look at what one person did alone"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    rotation = models.ForeignKey(
        Rotation, null=True, on_delete=models.CASCADE, related_name="tasks"
    )
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.CASCADE, related_name="tasks")
    account = models.ForeignKey(
        VendorAccount, null=True, on_delete=models.CASCADE, related_name="tasks"
    )
    about = models.CharField(max_length=200, blank=True, default="")
    version = models.ForeignKey(KeyVersion, null=True, on_delete=models.CASCADE, related_name="+")
    # Who did what is to be reviewed: that person cannot close it.
    person = models.ForeignKey(Member, null=True, on_delete=models.CASCADE, related_name="+")
    text = models.CharField(max_length=TASK_TEXT, blank=True, default="")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    outcome = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["rotation", "kind"],
                condition=Q(closed_at__isnull=True),
                name="task_open_once",
            ),
            models.UniqueConstraint(
                fields=["kind", "about"],
                condition=Q(closed_at__isnull=True) & ~Q(about=""),
                name="alert_open_once",
            ),
            models.CheckConstraint(
                name="task_about_something", condition=Q(rotation__isnull=False) | ~Q(about="")
            ),
        ]
        indexes = [
            models.Index(
                fields=["opened_at"], condition=Q(closed_at__isnull=True), name="task_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.title} for {self.key or self.account or self.about}"

    @property
    def title(self) -> str:
        """Return what is to be done, in words; a retirement has no new key to move to."""
        if self.kind == self.Kind.CONFIRM and self.rotation and self.rotation.retires:
            return "Confirm that nothing uses the key"
        return str(self.get_kind_display())
