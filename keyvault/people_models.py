"""Who is signed in where, who was invited, which groups there are, and how often something was tried."""

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.functions import Lower

from keyvault.names import name_field


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
        from keyvault.sessions import SessionStore

        return SessionStore

    def __str__(self) -> str:
        return f"session of {self.member} from {self.source or 'an unknown address'}"


class Tally(models.Model):
    """How often something was tried by somebody in the present window; limits.py counts here."""

    what = models.CharField(max_length=40)
    who = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
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
