"""What keys there are: environments, applications, vendor accounts, keys and their versions.

No secret stands here: a version names the path in Vault at which its secret lies.
"""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from keyvault.core.validators import name_field, plain_name
from keyvault.models.access import Member


class Environment(models.Model):
    """Development, staging, production, or another one that the team adds."""

    name = name_field()
    is_production = models.BooleanField(default=False)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="environment_name_any_case")]

    def __str__(self) -> str:
        return self.name


class Application(models.Model):
    """A program that uses keys."""

    name = name_field()
    team = name_field(blank=True, default="")
    contact = models.EmailField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="application_name_any_case")]

    def __str__(self) -> str:
        return self.name


class VendorAccount(models.Model):
    """One account at a vendor. `management_path` names its credential in Vault, where it has one."""

    name = name_field()
    provider = models.CharField(max_length=50)
    base_url = models.URLField(max_length=500)
    dashboard_url = models.URLField(max_length=500, blank=True, default="")
    settings = models.JSONField(default=dict, blank=True)
    management_path = models.UUIDField(null=True, blank=True, editable=False)
    management_fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    management_since = models.DateTimeField(null=True, blank=True, editable=False)
    # The vendor's own id of the account that the credential opens, where the vendor tells one.
    vendor_account = models.CharField(max_length=100, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "keyvault_account"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="account_name_any_case")]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """The lasting thing that people name; its secrets are versions.

    Owned by exactly one application or member. `current` is what consumers get.
    """

    account = models.ForeignKey(VendorAccount, on_delete=models.PROTECT, related_name="keys")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="keys")
    application = models.ForeignKey(
        Application, null=True, blank=True, on_delete=models.PROTECT, related_name="keys"
    )
    member = models.ForeignKey(
        Member, null=True, blank=True, on_delete=models.PROTECT, related_name="keys"
    )
    name = name_field()
    purpose = models.TextField(blank=True, default="", max_length=1000, validators=[plain_name])
    current = models.OneToOneField(
        "KeyVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="current_of"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    rotated_at = models.DateTimeField(null=True, blank=True)
    # When it was retired: hidden from lists, and its name may be used again.
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="key_archived_has_no_secret",
                condition=Q(archived_at__isnull=True) | Q(current__isnull=True),
            ),
            models.CheckConstraint(
                name="key_one_owner",
                condition=Q(application__isnull=False, member__isnull=True)
                | Q(application__isnull=True, member__isnull=False),
            ),
            models.UniqueConstraint(
                "account",
                "environment",
                Lower("name"),
                condition=Q(archived_at__isnull=True),
                name="key_name_any_case",
            ),
        ]
        indexes = [
            models.Index(fields=["application", "environment"], name="key_by_place"),
            models.Index(fields=["name", "id"], name="key_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.account} / {self.environment} / {self.name}"


class VersionState(models.TextChoices):
    """The life of one secret: pending, standby or current, previous, deleted; or discarded."""

    PENDING = "pending", "Pending"
    STANDBY = "standby", "Standby"
    CURRENT = "current", "Current"
    PREVIOUS = "previous", "Previous"
    DELETED = "deleted", "Deleted"
    DISCARDED = "discarded", "Discarded"


LIVE_STATES = (
    VersionState.PENDING,
    VersionState.STANDBY,
    VersionState.CURRENT,
    VersionState.PREVIOUS,
)


class Link(models.TextChoices):
    """What shows that a version's id at the vendor is that of its secret: no call rests on a word."""

    UNPROVEN = "", "Not proven"
    ANSWER = "answer", "The vendor gave both in one answer"
    REFUSAL = "refusal", "Disabled by its id, the secret was refused"
    MASK = "mask", "The vendor shows the end of this secret beside the id"
    USE = "use", "A call with the secret moved the last use of the id"
    REFUTED = "refuted", "The id does not belong to this secret"


PROVEN_LINKS = (Link.ANSWER, Link.REFUSAL, Link.MASK, Link.USE)


class KeyVersion(models.Model):
    """One secret that the vendor issued for a key; the secret itself is at `path` in Vault."""

    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=VersionState.choices)
    path = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    tail = models.CharField(max_length=4, blank=True, default="", editable=False)
    length = models.PositiveIntegerField(editable=False)
    vendor_id = models.CharField(max_length=200, blank=True, default="")
    link = models.CharField(max_length=8, choices=Link.choices, blank=True, default="")
    linked_at = models.DateTimeField(null=True, blank=True)
    link_text = models.CharField(max_length=400, blank=True, default="")
    # The vendor's own id of its account, as its last answer about this secret told it.
    vendor_account = models.CharField(max_length=100, blank=True, default="", editable=False)
    label = models.CharField(max_length=200, blank=True, default="")
    source = models.CharField(max_length=20)
    added_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    check_answer = models.CharField(max_length=12, blank=True, default="")
    check_text = models.CharField(max_length=300, blank=True, default="")
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    destroyed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["key", "number"], name="version_number"),
            models.UniqueConstraint(
                fields=["key"], condition=Q(state="current"), name="version_one_current"
            ),
            models.UniqueConstraint(
                fields=["key"], condition=Q(state="pending"), name="version_one_pending"
            ),
            # A secret that is still alive somewhere stands for one key only.
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=Q(state__in=["pending", "standby", "current", "previous"]),
                name="version_live_secret_once",
            ),
            models.CheckConstraint(
                name="version_deleted_was_refused",
                condition=~Q(state="deleted") | Q(refused_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["tail"], name="version_by_tail"),
            # Asked for each key and each name that is given: was this secret ever on record?
            models.Index(fields=["fingerprint"], name="version_by_fingerprint"),
            models.Index(
                fields=["published_at"], condition=Q(state="current"), name="version_by_age"
            ),
            models.Index(
                fields=["expires_at"], condition=Q(state="current"), name="version_by_end"
            ),
            models.Index(
                fields=["vendor_id"], condition=~Q(vendor_id=""), name="version_by_vendor_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} version {self.number}"

    @property
    def is_linked(self) -> bool:
        """Return whether the id at the vendor is proven to be that of the secret."""
        return bool(self.vendor_id) and self.link in PROVEN_LINKS
