"""The audit tables. Rows are written by the database function `audit_append` and by nothing else."""

from django.db import models


class Action(models.TextChoices):
    """Every kind of act that is recorded, as `thing.verb`; retired ones stay listed."""

    MEMBER_CREATED = "member.created"
    MEMBER_SIGNED_IN = "member.signed_in"
    MEMBER_SIGN_IN_FAILED = "member.sign_in_failed"
    MEMBER_SIGNED_OUT = "member.signed_out"
    MEMBER_LOCKED_OUT = "member.locked_out"
    MEMBER_PASSWORD_CHANGED = "member.password_changed"
    MEMBER_FACTOR_CHANGED = "member.factor_changed"
    MEMBER_INVITED = "member.invited"
    MEMBER_JOINED = "member.joined"
    MEMBER_CHANGED = "member.changed"
    MEMBER_DEACTIVATED = "member.deactivated"
    MEMBER_OFFBOARDED = "member.offboarded"
    MEMBER_RETURNED = "member.returned"
    SESSION_ENDED = "session.ended"
    GROUP_CHANGED = "group.changed"
    GRANT_CHANGED = "grant.changed"
    ENVIRONMENT_CREATED = "environment.created"
    ENVIRONMENT_CHANGED = "environment.changed"
    APPLICATION_CREATED = "application.created"
    APPLICATION_CHANGED = "application.changed"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_CHANGED = "account.changed"
    ACCOUNT_CREDENTIAL_REPLACED = "account.credential_replaced"
    KEY_REGISTERED = "key.registered"
    KEY_CHANGED = "key.changed"
    KEY_CHECKED = "key.checked"
    KEY_RETIRING = "key.retiring"
    KEY_RETIRED = "key.retired"
    HOLD_SET = "hold.set"
    HOLD_LIFTED = "hold.lifted"
    SECRET_REVEALED = "secret.revealed"
    SECRET_FETCHED = "secret.fetched"
    VERSION_ADDED = "version.added"
    VERSION_PUBLISHED = "version.published"
    VERSION_RESTORED = "version.restored"
    VERSION_DELETED = "version.deleted"
    VERSION_DISCARDED = "version.discarded"
    VERSION_DESTROYED = "version.destroyed"
    VERSION_LEAKED = "version.leaked"
    VERSION_GONE_EARLY = "version.gone_early"
    VERSION_ACCEPTED_AGAIN = "version.accepted_again"
    TOKEN_CREATED = "token.created"
    TOKEN_RENEWED = "token.renewed"
    TOKEN_REVOKED = "token.revoked"
    TOKEN_REFUSED = "token.refused"
    CONSUMER_CHANGED = "consumer.changed"
    CONSUMER_ACKNOWLEDGED = "consumer.acknowledged"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_FAILED = "delivery.failed"
    POLICY_CHANGED = "policy.changed"
    HOOK_CHANGED = "hook.changed"
    PAUSE_CHANGED = "pause.changed"
    FREEZE_CHANGED = "freeze.changed"
    VERSION_ID_CORRECTED = "version.id_corrected"
    ROTATION_STARTED = "rotation.started"
    ROTATION_MOVED = "rotation.moved"
    ROTATION_WAITS = "rotation.waits"
    ROTATION_FAILED = "rotation.failed"
    ROTATION_CANCELLED = "rotation.cancelled"
    ROTATION_RETRIED = "rotation.retried"
    ADOPTION_WAIVED = "adoption.waived"
    CAMPAIGN_STARTED = "campaign.started"
    CAMPAIGN_ACCEPTED = "campaign.accepted"
    CAMPAIGN_CLOSED = "campaign.closed"
    VENDOR_KEY_CREATED = "vendor_key.created"
    VENDOR_KEY_DISABLED = "vendor_key.disabled"
    VENDOR_KEY_ENABLED = "vendor_key.enabled"
    VENDOR_KEY_GONE = "vendor_key.gone"
    VENDOR_KEY_DELETED = "vendor_key.deleted"
    VENDOR_KEY_STRAY = "vendor_key.stray"
    TASK_OPENED = "task.opened"
    TASK_CLOSED = "task.closed"
    DELETION_FROZEN = "deletion.frozen"
    DELETION_THAWED = "deletion.thawed"
    INVENTORY_RECONCILED = "inventory.reconciled"
    VERSION_ADOPTED = "version.adopted"
    OUTAGE_BEGAN = "outage.began"
    OUTAGE_ENDED = "outage.ended"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_USED = "approval.used"
    APPROVAL_LAPSED = "approval.lapsed"
    APPROVAL_RULE_CHANGED = "approval.rule_changed"
    INVENTORY_EXPORTED = "inventory.exported"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_ARCHIVED = "audit.archived"
    AUDIT_COMPARED = "audit.compared"


class AuditEvent(models.Model):
    """One recorded act. `payload` is the exact text that was hashed; the other columns repeat it."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    action = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=40, blank=True)
    actor_label = models.CharField(max_length=300)
    object_kind = models.CharField(max_length=20, blank=True)
    object_id = models.CharField(max_length=40, blank=True)
    object_label = models.CharField(max_length=500, blank=True)
    key_id = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=40, blank=True)
    payload = models.TextField()
    prev = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["key_id", "-seq"], name="audit_by_key"),
            models.Index(fields=["actor_kind", "actor_id", "-seq"], name="audit_by_actor"),
            models.Index(fields=["action", "-seq"], name="audit_by_action"),
            models.Index(fields=["object_kind", "object_id", "-seq"], name="audit_by_object"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"#{self.seq} {self.action} by {self.actor_label}"


class ChainHead(models.Model):
    """The last sequence number and hash; locked last by each append, so appends form one line."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField()

    def __str__(self) -> str:
        return f"head at #{self.seq}"


class Checkpoint(models.Model):
    """A signed statement of the chain's head at one time; `text` is exactly what was signed."""

    seq = models.BigIntegerField()
    text = models.TextField()
    signature = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"checkpoint at #{self.seq}"


class Partition(models.Model):
    """One month of the log: a range of sequence numbers in a table of its own; open while growing.

    Written by the database function `audit_roll` and, when a month is dropped, by the owner's role.
    """

    name = models.CharField(max_length=63, unique=True)
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField(null=True)
    began_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"rows #{self.first_seq} to {f'#{self.last_seq}' if self.last_seq else 'now'}"


class CheckpointExport(models.Model):
    """How far the checkpoints have been sent to one place outside, and what went wrong last."""

    target = models.CharField(max_length=20, primary_key=True)
    last_id = models.BigIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.target}: up to checkpoint {self.last_id}"
