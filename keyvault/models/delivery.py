"""Service tokens, with which applications fetch their keys."""

from django.db import models
from django.db.models.functions import Lower

from keyvault.core.validators import name_field
from keyvault.models.access import Member
from keyvault.models.inventory import Application, Environment


class ServiceToken(models.Model):
    """What a running application presents; bound to one application in one environment.

    The token itself is shown once; here is only its HMAC digest, under a key outside the database.
    """

    public_id = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64, editable=False)
    # What renewals replaced, each {"text", "digest", "until", "shown_at", "shown_to"}: each opens the
    # same until its end, so that nothing is cut off. `text` is the id of its TokenText.
    formers = models.JSONField(default=list, db_default=[], blank=True, editable=False)
    # When each was last used, by `text`; the present one is "present".
    texts_used = models.JSONField(default=dict, db_default={}, blank=True, editable=False)
    # The last end of them, after which none opens, and their last use.
    former_until = models.DateTimeField(null=True, blank=True)
    former_used_at = models.DateTimeField(null=True, blank=True)
    # Of the last one, for processes of the release before.
    former_digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    renewed_at = models.DateTimeField(null=True, blank=True)
    # Where it may be used from, as CIDR networks; an empty list is anywhere.
    networks = models.JSONField(default=list, blank=True)
    name = name_field()
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="tokens")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="tokens")
    created_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    # Which text this call came with, as in `texts_used`; set by the check, never stored.
    used_text = "present"

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "application", "environment", Lower("name"), name="token_name_any_case"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.application} in {self.environment})"
