"""The audit tables. Rows are written by the database function `audit_append` and by nothing else."""

from django.db import models


class Action(models.TextChoices):
    """Every kind of act that is recorded, as `thing.verb`; retired ones stay listed."""

    MEMBER_CREATED = "member.created"
    MEMBER_SIGNED_IN = "member.signed_in"
    MEMBER_SIGN_IN_FAILED = "member.sign_in_failed"
    MEMBER_SIGNED_OUT = "member.signed_out"
    GRANT_CHANGED = "grant.changed"
    ENVIRONMENT_CREATED = "environment.created"
    APPLICATION_CREATED = "application.created"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_CHANGED = "account.changed"
    KEY_REGISTERED = "key.registered"
    KEY_CHANGED = "key.changed"
    KEY_CHECKED = "key.checked"
    SECRET_REVEALED = "secret.revealed"
    SECRET_FETCHED = "secret.fetched"
    VERSION_ADDED = "version.added"
    VERSION_PUBLISHED = "version.published"
    VERSION_RESTORED = "version.restored"
    VERSION_DELETED = "version.deleted"
    VERSION_DISCARDED = "version.discarded"
    VERSION_DESTROYED = "version.destroyed"
    VERSION_LEAKED = "version.leaked"
    TOKEN_CREATED = "token.created"
    TOKEN_RENEWED = "token.renewed"
    TOKEN_REVOKED = "token.revoked"
    TOKEN_REFUSED = "token.refused"
    CONSUMER_CHANGED = "consumer.changed"
    CONSUMER_ACKNOWLEDGED = "consumer.acknowledged"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_FAILED = "delivery.failed"
    POLICY_CHANGED = "policy.changed"
    ROTATION_STARTED = "rotation.started"
    ROTATION_MOVED = "rotation.moved"
    ROTATION_WAITS = "rotation.waits"
    ROTATION_FAILED = "rotation.failed"
    ROTATION_CANCELLED = "rotation.cancelled"
    ROTATION_RETRIED = "rotation.retried"
    ADOPTION_WAIVED = "adoption.waived"
    VENDOR_KEY_CREATED = "vendor_key.created"
    VENDOR_KEY_DISABLED = "vendor_key.disabled"
    VENDOR_KEY_DELETED = "vendor_key.deleted"
    VENDOR_KEY_STRAY = "vendor_key.stray"
    TASK_OPENED = "task.opened"
    TASK_CLOSED = "task.closed"
    OUTAGE_BEGAN = "outage.began"
    OUTAGE_ENDED = "outage.ended"
    AUDIT_READ = "audit.read"


class AuditEvent(models.Model):
    """One recorded act. `payload` is the exact text that was hashed; the other columns repeat it."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField(db_index=True)
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
