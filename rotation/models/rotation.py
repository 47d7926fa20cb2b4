"""A rotation: its steps, what it waits for, its intents and attempts, and outages."""

import uuid

from django.db import models
from django.db.models import Q

from keyvault.core import db_clock
from keyvault.models import (
    ApiKey,
    KeyVersion,
    Member,
    VendorAccount,
)


class Step(models.TextChoices):
    """What a rotation does next; the last three are ends."""

    GENERATE = "generate", "Generate"
    UPDATE = "update", "Update"
    VERIFY = "verify", "Verify"
    DELETE = "delete", "Delete"
    ROLL_BACK = "roll_back", "Roll back"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


OPEN_STEPS = (Step.GENERATE, Step.UPDATE, Step.VERIFY, Step.DELETE, Step.ROLL_BACK)
ENDS = (Step.DONE, Step.FAILED, Step.CANCELLED)


class WaitingFor(models.TextChoices):
    """What keeps a rotation from going on."""

    NOTHING = "", "nothing"
    KEY = "key", "a key from a person"
    ADOPTION = "adoption", "consumers to move to the new key"
    OVERLAP = "overlap", "the overlap time to pass"
    QUIET = "quiet", "the old key to fall quiet"
    DELETION = "deletion", "a person to delete the key at the vendor"
    VENDOR = "vendor", "the vendor"
    VAULT = "vault", "the secret store"
    PERSON = "person", "a person to look into it"
    TURN = "turn", "its turn"
    RECONCILE = "reconcile", "a clean comparison after a restore"
    HOLD = "hold", "the hold on its key to end"


# Before anything was published, or after all had moved: it keeps no other key from rotating.
AT_REST = (WaitingFor.KEY, WaitingFor.DELETION, WaitingFor.HOLD)


class Reason(models.TextChoices):
    """Why a rotation was started."""

    SCHEDULE = "schedule", "Schedule"
    MANUAL = "manual", "Manual"
    EXPIRY = "expiry", "Expiry"
    LEAK = "leak", "Leak"
    LEAVER = "leaver", "Leaver"
    INCIDENT = "incident", "Incident"


class Rotation(models.Model):
    """One run that replaces a key's current version. `fence` is raised by each claim."""

    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="rotations")
    step = models.CharField(max_length=10, choices=Step.choices, default=Step.GENERATE)
    reason = models.CharField(max_length=10, choices=Reason.choices)
    requested_by = models.ForeignKey(
        Member, null=True, on_delete=models.SET_NULL, related_name="rotations"
    )
    scheduled_for = models.DateTimeField(null=True, blank=True)
    old_version = models.ForeignKey(
        KeyVersion, null=True, on_delete=models.PROTECT, related_name="replaced_by"
    )
    new_version = models.ForeignKey(
        KeyVersion, null=True, on_delete=models.PROTECT, related_name="made_by"
    )
    overlap_seconds = models.PositiveIntegerField()
    quiet_seconds = models.PositiveIntegerField()

    waiting_for = models.CharField(
        max_length=10, choices=WaitingFor.choices, blank=True, default=""
    )
    waiting_text = models.CharField(max_length=500, blank=True, default="")
    waiting_since = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    lost_claims = models.PositiveSmallIntegerField(default=0)
    # When the loop last sent a message for it; set back by each try, so none piles up unread.
    nudged_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True, default="")

    # Raised by every event that should be looked at; a worker that missed one looks again at once.
    wake = models.BigIntegerField(default=0)
    proving_since = models.DateTimeField(null=True, blank=True)
    good_answers = models.PositiveSmallIntegerField(default=0)
    bad_answers = models.PositiveSmallIntegerField(default=0)
    # Why nobody needs the key any more: this run ends it, and brings no new version.
    retire_reason = models.CharField(max_length=500, blank=True, default="")
    cancelling = models.BooleanField(default=False)
    started_at = models.DateTimeField(auto_now_add=True)
    step_since = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    # The old key while it overlaps: when its secret was last asked about, how often, refusals in a row,
    # since when the vendor's word on its last use counts and names nobody else's, and its early death.
    old_asked_at = models.DateTimeField(null=True, blank=True)
    old_asked = models.PositiveIntegerField(default=0, db_default=0)
    old_refusals = models.PositiveSmallIntegerField(default=0, db_default=0)
    quiet_from = models.DateTimeField(null=True, blank=True)
    old_gone_at = models.DateTimeField(null=True, blank=True)
    old_gone_how = models.CharField(max_length=300, blank=True, default="", db_default="")
    adopted_at = models.DateTimeField(null=True, blank=True)
    adopted_how = models.CharField(max_length=300, blank=True, default="")
    waived_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    waived_at = models.DateTimeField(null=True, blank=True)
    waiver_reason = models.CharField(max_length=500, blank=True, default="")
    # For whom the waiver speaks: each holder and each copy of it that was left then, with how many it
    # stood for. None: for whoever holds the key, as an agreement in advance or on the way back does.
    waived_holders = models.JSONField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                condition=~Q(step__in=["done", "failed", "cancelled"]),
                name="rotation_one_open",
            ),
            models.UniqueConstraint(fields=["key", "scheduled_for"], name="rotation_once_due"),
            models.CheckConstraint(
                name="rotation_end_has_time",
                condition=Q(step__in=["done", "failed", "cancelled"], finished_at__isnull=False)
                | Q(finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="rotation_delete_was_adopted",
                condition=~Q(step="delete")
                | Q(verified_at__isnull=False, adopted_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=~Q(step__in=["done", "failed", "cancelled"]),
                name="rotation_due",
            ),
        ]

    def __str__(self) -> str:
        return f"rotation {self.pk} of {self.key}"

    @property
    def retires(self) -> bool:
        """Return whether this run ends the key and brings no new version."""
        return bool(self.retire_reason)

    @property
    def waits_for(self) -> str:
        """Return what it waits for in words; a retirement has no new key to move to."""
        if self.retires and self.waiting_for == WaitingFor.ADOPTION:
            return "a person to confirm that nothing uses the key"
        if self.retires and self.waiting_for == WaitingFor.QUIET:
            return "the key to fall quiet"
        return str(self.get_waiting_for_display())

    @property
    def is_open(self) -> bool:
        """Return whether the rotation has not ended."""
        return self.step in OPEN_STEPS


class Intent(models.Model):
    """Something that will be done at the vendor, committed before it is done.

    An open create intent after a crash or an unclear answer is looked up by `label`; its secret is
    adopted only if it reached Vault at `path`, else the stray key is deleted.
    """

    class Kind(models.TextChoices):
        CREATE = "create", "Create"
        DELETE = "delete", "Delete"
        SWAP = "swap", "replace in place"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        DONE = "done", "Done"
        ABANDONED = "abandoned", "Abandoned"

    rotation = models.ForeignKey(Rotation, on_delete=models.PROTECT, related_name="intents")
    kind = models.CharField(max_length=6, choices=Kind.choices)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    label = models.CharField(max_length=100, blank=True, default="")
    path = models.UUIDField(default=uuid.uuid4)
    version = models.ForeignKey(KeyVersion, null=True, on_delete=models.PROTECT, related_name="+")
    vendor_id = models.CharField(max_length=200, blank=True, default="")
    fence = models.BigIntegerField()
    created_at = models.DateTimeField(default=db_clock.now)
    unclear_since = models.DateTimeField(null=True, blank=True)
    # To end a key whose id is not proven: before the call that disables it, and after its answer.
    disabling_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    look_again_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["rotation"],
                condition=Q(kind="create", state="open"),
                name="intent_one_open",
            ),
            # Each such call kills a key: never a second one in the same run.
            models.UniqueConstraint(
                fields=["rotation"], condition=Q(kind="swap"), name="intent_swap_once"
            ),
            models.UniqueConstraint(
                fields=["rotation", "version"],
                condition=Q(kind="delete"),
                name="intent_delete_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["look_again_at"],
                condition=Q(look_again_at__isnull=False),
                name="intent_look_again",
            ),
            models.Index(
                fields=["created_at"], condition=Q(kind="create"), name="intent_created_lately"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.label or self.version_id} ({self.state})"


class Attempt(models.Model):
    """One try of a step, or several alike ones in a row: what came of it and why."""

    rotation = models.ForeignKey(Rotation, on_delete=models.CASCADE, related_name="attempts")
    step = models.CharField(max_length=10, choices=Step.choices)
    outcome = models.CharField(max_length=10)
    text = models.CharField(max_length=500, blank=True, default="")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.step}: {self.outcome}"


class Outage(models.Model):
    """A vendor account, or the secret store (no account), that fails time after time.

    The row is there from the first failure to the next success. Once people were told, one probe at
    a time goes out, at `next_try_at`; everything else that waits for it is held back.
    """

    account = models.ForeignKey(
        VendorAccount, null=True, on_delete=models.CASCADE, related_name="outages"
    )
    failures = models.PositiveIntegerField(default=1)
    failing_since = models.DateTimeField()
    last_error = models.CharField(max_length=500, blank=True, default="")
    next_try_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account"], nulls_distinct=False, name="outage_once")
        ]

    def __str__(self) -> str:
        return f"outage of {self.account or 'the secret store'}"
