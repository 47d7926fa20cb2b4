"""What lies in Vault and is named by no row of another table."""

from django.db import models


class Leftover(models.Model):
    """A secret in the area of webhooks that is not named yet, or not any more."""

    path = models.UUIDField(unique=True, editable=False)
    since = models.DateTimeField(auto_now_add=True)
    # Once set, it is being destroyed: nothing may come to name it any more.
    doomed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"webhooks/{self.path}"
