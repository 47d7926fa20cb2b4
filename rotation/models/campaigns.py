"""Many keys that must all be dealt with: nothing is left out, and nothing is done until each is."""

from django.db import models
from django.db.models import Q

from keyvault.models import ApiKey, KeyVersion, Member, name_field


class Campaign(models.Model):
    """One set of keys that must be rotated, proven dead, or accepted by a named person."""

    title = name_field(200)
    reason = models.CharField(max_length=10)
    started_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    started_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    # A planned one is spread evenly until then, within each key's window; others begin at once.
    finish_by = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["started_at"], condition=Q(closed_at__isnull=True), name="campaign_open"
            )
        ]

    def __str__(self) -> str:
        return self.title


class CampaignItem(models.Model):
    """One key of a campaign; `exposed` is the secret that must go."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="items")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="campaign_items")
    exposed = models.ForeignKey(KeyVersion, null=True, on_delete=models.PROTECT, related_name="+")
    rotation = models.ForeignKey(
        "rotation.Rotation", null=True, on_delete=models.SET_NULL, related_name="campaign_items"
    )
    accepted_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "key", "exposed"],
                nulls_distinct=False,
                name="campaign_secret_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.campaign}"
