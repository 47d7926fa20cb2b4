"""Who is signed in where, who was invited, which groups there are, and how often something was tried."""

from importlib import import_module

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from keyvault.core.validators import name_field, plain_name


class MemberSession(AbstractBaseSession):
    """One signed-in browser. The key is a digest of what its cookie holds, and the data are encrypted."""

    member = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.CASCADE, related_name="sessions"
    )
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    source = models.CharField(max_length=60, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-seen_at"]

    @classmethod
    def get_session_store_class(cls) -> type:
        """Return the store that writes these rows."""
        store: type = import_module(settings.SESSION_ENGINE).SessionStore
        return store

    def __str__(self) -> str:
        return f"session of {self.member} from {self.source or 'an unknown address'}"


class RateLimitCounter(models.Model):
    """How often something was tried by somebody in the present window; limits.py counts here."""

    what = models.CharField(max_length=40)
    who = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "keyvault_tally"
        constraints = [models.UniqueConstraint(fields=["what", "who"], name="tally_once")]
        indexes = [models.Index(fields=["began_at"], name="tally_by_age")]

    def __str__(self) -> str:
        return f"{self.count} times {self.what}"


class Invitation(models.Model):
    """A link by which a person chooses their own password; only a keyed digest of it is kept."""

    member = models.ForeignKey(
        "keyvault.Member", on_delete=models.CASCADE, related_name="invitations"
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"invitation of {self.member}"


class Group(models.Model):
    """People who have roles together."""

    name = name_field()
    members = models.ManyToManyField("keyvault.Member", related_name="teams", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="group_name_any_case")]

    def __str__(self) -> str:
        return self.name


class DirectoryEntry(models.Model):
    """What the company's directory says of a person, beyond what the service itself uses."""

    member = models.OneToOneField(
        "keyvault.Member", on_delete=models.CASCADE, related_name="directory"
    )
    # The directory's own name for the person; an empty one is none.
    external_id = models.CharField(max_length=254, blank=True, default="", validators=[plain_name])
    # The attributes as they were said, without what stands in the member's row.
    said = models.JSONField(default=dict, blank=True)
    # All e-mail addresses said, in small letters: directories match people by them.
    addresses = models.JSONField(default=list, blank=True)
    # Recorded as inactive from the start: nothing was ever theirs, so they may still begin.
    not_begun = models.BooleanField(default=False)
    # Deleted there: while they stay inactive, the directory is told that there is no such person.
    deleted_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["external_id"], condition=~Q(external_id=""), name="directory_external_id"
            )
        ]
        indexes = [GinIndex(fields=["addresses"], name="directory_addresses")]

    def __str__(self) -> str:
        return f"{self.member} in the directory"
