"""Members, roles and grants."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from keyvault.core.validators import name_field, plain_name


class Member(AbstractUser):
    """A person who signs in with an e-mail address."""

    username = models.CharField(max_length=254, unique=True, validators=[plain_name])
    # Always in small letters: the sign-in looks it up so.
    email = models.EmailField(unique=True)
    first_name = name_field(150, blank=True, default="")
    # When everything this person could reach was taken back; None for who is here.
    left_at = models.DateTimeField(null=True, blank=True)
    # When an owner last let them come back; what they knew or were trusted with before counts no more.
    returned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="member_email_any_case")]

    def save(self, *args: Any, **options: Any) -> None:
        """Save with the address in small letters, however it was typed."""
        self.email, self.username = self.email.lower(), self.username.lower()
        super().save(*args, **options)

    def __str__(self) -> str:
        return self.get_full_name() or self.email


class Role(models.TextChoices):
    """What a grant lets a member do; permissions.py says what each one means."""

    VIEWER = "viewer", "Viewer"
    DEVELOPER = "developer", "Developer"
    OPERATOR = "operator", "Operator"
    OWNER = "owner", "Owner"
    AUDITOR = "auditor", "Auditor"


class Grant(models.Model):
    """A role over everything, an application, an environment, or both together."""

    member = models.ForeignKey(
        Member, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    group = models.ForeignKey(
        "keyvault.Group", null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    role = models.CharField(max_length=10, choices=Role.choices)
    application = models.ForeignKey(
        "keyvault.Application", null=True, blank=True, on_delete=models.CASCADE
    )
    environment = models.ForeignKey(
        "keyvault.Environment", null=True, blank=True, on_delete=models.CASCADE
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["member", "group", "role", "application", "environment"],
                nulls_distinct=False,
                name="grant_once",
            ),
            models.CheckConstraint(
                name="grant_to_one",
                condition=Q(member__isnull=False, group__isnull=True)
                | Q(member__isnull=True, group__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        where = [str(part) for part in (self.application, self.environment) if part]
        return f"{self.role} of {' in '.join(where) or 'everything'}"
