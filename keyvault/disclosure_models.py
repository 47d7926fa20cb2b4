"""Who was shown what: rows that are never archived, unlike the audit log's months.

They answer what a person or a program could still know when somebody leaves or something leaks.
"""

from django.db import models


class Reveal(models.Model):
    """A person was shown the secret of a version; written before it leaves."""

    member = models.ForeignKey("keyvault.Member", on_delete=models.CASCADE, related_name="reveals")
    version = models.ForeignKey(
        "keyvault.KeyVersion", on_delete=models.CASCADE, related_name="reveals"
    )
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member", "version"], name="reveal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.member} was shown {self.version}"


class TokenText(models.Model):
    """One text of a service token, and whom it was shown; `ends_at` is set by the next renewal."""

    token = models.ForeignKey(
        "keyvault.ServiceToken", on_delete=models.CASCADE, related_name="texts"
    )
    member = models.ForeignKey(
        "keyvault.Member", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    shown_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["token"], condition=models.Q(ends_at=None), name="token_text_one_present"
            ),
        ]

    def __str__(self) -> str:
        return f"text of {self.token} shown to {self.member}"
