"""What lies in Vault and is named by no row of another table."""

from django.db import models


class OrphanedSecret(models.Model):
    """A secret in Vault that is not named yet, or not any more; `area` is the first part of its path."""

    area = models.CharField(max_length=20, db_default="webhooks", editable=False)
    path = models.UUIDField(unique=True, editable=False)
    since = models.DateTimeField(auto_now_add=True)
    # Once set, it is being destroyed: nothing may come to name it any more.
    doomed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        db_table = "rotation_leftover"  # where it began: both releases of a rollout share it

    def __str__(self) -> str:
        return f"{self.area}/{self.path}"
