"""What is asked of vendors between rotations: does each key still work, and how much is left."""

from django.db import models

from keyvault.models import ApiKey, VendorAccount


class KeyCheckSchedule(models.Model):
    """When a key's current secret is asked about next, and what was said several times in a row."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, related_name="watch")
    next_check_at = models.DateTimeField()
    refusals = models.PositiveSmallIntegerField(default=0)
    unclear = models.PositiveSmallIntegerField(default=0)
    # Since when there is no verdict: a neighbour's since then tells the key's trouble from the vendor's.
    unclear_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "rotation_watch"
        indexes = [models.Index(fields=["next_check_at"], name="watch_due")]

    def __str__(self) -> str:
        return f"watch of {self.key}"


class AccountUsage(models.Model):
    """What the vendor last said of an account's plan and of the credits that are used."""

    account = models.OneToOneField(VendorAccount, on_delete=models.CASCADE, related_name="usage")
    plan = models.CharField(max_length=60, blank=True, default="")
    used = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True)
    at = models.DateTimeField()

    class Meta:
        db_table = "rotation_usage"

    def __str__(self) -> str:
        return f"usage of {self.account}"

    @property
    def percent(self) -> int | None:
        """Return how much is used up, in percent; None where there is no limit."""
        if not self.total or self.used is None:
            return None
        return round(100 * self.used / self.total)


class RotationPause(models.Model):
    """No rotation starts by itself for a key, an account, or anything, until it ends or is ended."""

    key = models.ForeignKey(ApiKey, null=True, on_delete=models.CASCADE, related_name="pauses")
    account = models.ForeignKey(
        VendorAccount, null=True, on_delete=models.CASCADE, related_name="pauses"
    )
    reason = models.CharField(max_length=300)
    ends_at = models.DateTimeField()
    paused_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    paused_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rotation_pause"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "account"], nulls_distinct=False, name="pause_once"
            ),
            models.CheckConstraint(
                name="pause_of_one",
                condition=models.Q(key__isnull=True) | models.Q(account__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"pause of {self.key or self.account or 'everything'}"


class Heartbeat(models.Model):
    """When a loop last ran, written by the loop's own task."""

    name = models.CharField(max_length=150, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"


class RestoreMarker(models.Model):
    """The mark that Postgres and Vault share, and whether deleting is frozen since they differ.

    One row. A new mark is written here as pending, then to Vault, then here as current, so that a
    crash between two writes is no difference. A restore of either leaves another mark behind.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    current = models.UUIDField(null=True)
    pending = models.UUIDField(null=True)
    rolled_at = models.DateTimeField(null=True)
    # How often Vault's copy of the mark had been written when it became current; 0: not known.
    writes = models.PositiveBigIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)
    frozen_since = models.DateTimeField(null=True)
    frozen_why = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        db_table = "rotation_epoch"

    def __str__(self) -> str:
        return f"frozen since {self.frozen_since}" if self.frozen_since else "in step"
