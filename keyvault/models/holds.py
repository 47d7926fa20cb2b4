"""What must be kept although its time is over: holds on keys."""

from django.db import models
from django.db.models import Q


class KeyHold(models.Model):
    """While it stands, no version of the key is ended or destroyed; several may stand at once."""

    key = models.ForeignKey("keyvault.ApiKey", on_delete=models.PROTECT, related_name="holds")
    reason = models.CharField(max_length=500)
    set_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    set_at = models.DateTimeField(auto_now_add=True)
    # It ends by itself then; None: only a person lifts it.
    ends_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    lifted_why = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["key"], condition=Q(lifted_at__isnull=True), name="hold_by_key")
        ]

    def __str__(self) -> str:
        ends = f"until {self.ends_at:%Y-%m-%d %H:%M} UTC" if self.ends_at else "until it is lifted"
        return f"hold of {self.set_by or 'somebody who left'} {ends}: {self.reason}"
