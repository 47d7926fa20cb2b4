"""When a key rotates by itself: what each level says of it, and what follows for each key."""

from django.db import models
from django.db.models import Q

from keyvault.models import ApiKey, Application, Environment, Member, VendorAccount, name_field
from rotation import recurrence

# What a policy says, in the order of the pages. A level says some of it, a key's policy all of it.
SETTINGS = (
    "enabled",
    "every_days",
    "rule",
    "at_time",
    "time_zone",
    "window",
    "missed",
    "jitter_minutes",
    "max_age_days",
    "overlap_seconds",
    "quiet_seconds",
    "standbys",
)


class MissedWindow(models.TextChoices):
    """What to do when a window passed without the run that was due in it."""

    NEXT = "next", "wait for the next window"
    NOW = "now", "run as soon as possible, but in no freeze"


class RotationPolicy(models.Model):
    """When a key rotates by itself, and how long old and new secret live side by side.

    The columns hold what counts for the key; `own` names those that are said for this very key. The
    others follow from the levels above it, anew whenever one of them changes.
    """

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, related_name="policy")
    own = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=True)
    every_days = models.PositiveIntegerField(null=True, blank=True)
    # A recurrence rule (RFC 5545) for the days; with one, `every_days` does not count.
    rule = models.CharField(max_length=200, blank=True, default="")
    at_time = models.TimeField()
    time_zone = models.CharField(max_length=60, default="UTC")
    overlap_seconds = models.PositiveIntegerField()
    quiet_seconds = models.PositiveIntegerField()
    # Such as “Tue-Thu 10:00-16:00”, in the policy's zone; empty is any time.
    window = models.CharField(max_length=60, blank=True, default="")
    missed = models.CharField(max_length=4, choices=MissedWindow.choices, default=MissedWindow.NEXT)
    jitter_minutes = models.PositiveIntegerField(default=0)
    max_age_days = models.PositiveIntegerField(null=True, blank=True)
    # How many secrets made ahead of time the key is to have; people are asked for what is missing.
    standbys = models.PositiveSmallIntegerField(default=0)
    next_run_at = models.DateTimeField(null=True, blank=True)
    set_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    # Why it cannot be kept; set while levels are carried to keys, never stored.
    impossible = ""

    class Meta:
        constraints = [
            models.CheckConstraint(name="policy_days", condition=Q(every_days__gte=1)),
        ]
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(enabled=True), name="policy_due"),
            models.Index(fields=["next_run_at"], name="policy_by_run"),
            models.Index(fields=["key"], condition=Q(standbys__gt=0), name="policy_standbys"),
        ]

    def __str__(self) -> str:
        within = f", within {self.window}" if self.window else ""
        return f"{self.rhythm} at {self.at_time:%H:%M} {self.time_zone}{within}"

    @property
    def rhythm(self) -> str:
        """Return in words on which days it rotates."""
        if self.rule:
            return recurrence.words(self.rule)
        return f"every {self.every_days} days" if self.every_days else "at its maximum age"


class FreezeCalendar(models.Model):
    """A calendar whose events are freezes, read each hour; its address lies in Vault at `path`."""

    name = name_field(unique=True)
    host = models.CharField(max_length=253)
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    path = models.UUIDField(editable=False)
    next_read_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    # What in it could not be read exactly, and how it counts; empty when all was clear.
    remarks = models.TextField(max_length=4000, blank=True, default="")
    failing_since = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        db_table = "rotation_freezefeed"
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name} at {self.host}"


class PolicyScope(models.Model):
    """What one level says for every key below it: the installation, or one of the three others.

    Null says nothing. `applied_at` is when its last change had reached every key.
    """

    account = models.ForeignKey(
        VendorAccount, null=True, on_delete=models.CASCADE, related_name="+"
    )
    environment = models.ForeignKey(
        Environment, null=True, on_delete=models.CASCADE, related_name="+"
    )
    application = models.ForeignKey(
        Application, null=True, on_delete=models.CASCADE, related_name="+"
    )
    enabled = models.BooleanField(null=True)
    every_days = models.PositiveIntegerField(null=True)
    rule = models.CharField(max_length=200, null=True)  # noqa: DJ001
    at_time = models.TimeField(null=True)
    time_zone = models.CharField(max_length=60, null=True)  # noqa: DJ001
    overlap_seconds = models.PositiveIntegerField(null=True)
    quiet_seconds = models.PositiveIntegerField(null=True)
    window = models.CharField(max_length=60, null=True)  # noqa: DJ001
    missed = models.CharField(max_length=4, choices=MissedWindow.choices, null=True)  # noqa: DJ001
    jitter_minutes = models.PositiveIntegerField(null=True)
    max_age_days = models.PositiveIntegerField(null=True)
    standbys = models.PositiveSmallIntegerField(null=True)
    set_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)
    applied_to = models.BigIntegerField(default=0)
    applied_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "rotation_policylevel"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "environment", "application"],
                nulls_distinct=False,
                name="policy_level_once",
            ),
            models.CheckConstraint(
                name="policy_level_one_place",
                condition=Q(account__isnull=True, environment__isnull=True)
                | Q(account__isnull=True, application__isnull=True)
                | Q(environment__isnull=True, application__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.place}"

    @property
    def summary(self) -> str:
        """Return what it says, in a line."""
        said = [f"every {self.every_days} days"] if self.every_days else []
        said += [recurrence.words(self.rule)] if self.rule else []
        said += [f"at {self.at_time:%H:%M}"] if self.at_time else []
        said += [self.time_zone] if self.time_zone else []
        said += [f"within {self.window}"] if self.window else []
        said += [f"{self.max_age_days} days old at most"] if self.max_age_days else []
        said += ["switched off"] if self.enabled is False else []
        return ", ".join(said) or "nothing of when"

    @property
    def place(self) -> str:
        """Return in words where it counts."""
        if self.application:
            return f"application {self.application}"
        if self.environment:
            return f"environment {self.environment}"
        return f"account {self.account}" if self.account else "the installation"


class ReplanProgress(models.Model):
    """Freezes changed here (None: everywhere), and keys after this one are not planned anew yet."""

    environment = models.ForeignKey(
        Environment, null=True, on_delete=models.CASCADE, related_name="+"
    )
    applied_to = models.BigIntegerField(default=0)

    class Meta:
        db_table = "rotation_replan"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], nulls_distinct=False, name="replan_once"
            )
        ]

    def __str__(self) -> str:
        return f"planning {self.environment or 'everything'} anew from key {self.applied_to}"
