"""What a second person must agree to, and what they were asked."""

from django.db import models
from django.db.models import Q


class ApprovalAction(models.TextChoices):
    """What a rule can put under a second pair of eyes."""

    REVEAL = "reveal", "reveal a secret"
    ROTATION = "rotation", "start a rotation"
    WAIVER = "waiver", "delete an old key without proof"
    EXPORT = "export", "export the audit log"
    TOKEN = "token", "create or renew a service token"
    WEBHOOK = "webhook", "set a webhook's address"
    VENDOR = "vendor", "set a vendor account's address"
    HOLD = "hold", "lift a hold on a key"
    RETIRE = "retire", "retire a key"
    RULE = "rule", "remove a rule about approvals"


class ApprovalRule(models.Model):
    """This act needs a second person: in one environment, or everywhere when none is named."""

    act = models.CharField(max_length=10, choices=ApprovalAction.choices)
    environment = models.ForeignKey(
        "keyvault.Environment", null=True, blank=True, on_delete=models.CASCADE
    )
    set_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["act", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["act", "environment"], nulls_distinct=False, name="approval_rule_once"
            )
        ]

    def __str__(self) -> str:
        return f"to {self.get_act_display()} {f'in {self.environment}' if self.environment else 'anywhere'}"


class Approval(models.Model):
    """One request, bound to a digest of exactly what is to be done; used once, and only by its asker."""

    act = models.CharField(max_length=10, choices=ApprovalAction.choices)
    # What the approver reads, and the same as canonical JSON, whose digest the act is held to.
    what = models.CharField(max_length=500)
    parameters = models.TextField()
    digest = models.CharField(max_length=64)
    key = models.ForeignKey(
        "keyvault.ApiKey", null=True, on_delete=models.CASCADE, related_name="+"
    )
    asked_by = models.ForeignKey("keyvault.Member", on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=500, blank=True, default="")
    asked_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    granted = models.BooleanField(null=True)
    used_at = models.DateTimeField(null=True, blank=True)
    # Asker or approver left before it was used: it opens nothing any more, whoever comes back.
    lapsed_at = models.DateTimeField(null=True, blank=True)
    lapsed_why = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                name="approval_by_another",
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=models.F("asked_by")),
            ),
            models.UniqueConstraint(
                fields=["asked_by", "digest"],
                condition=Q(used_at__isnull=True, granted__isnull=True),
                name="approval_open_once",
            ),
        ]

    def __str__(self) -> str:
        return f"approval {self.pk}: {self.what}"
