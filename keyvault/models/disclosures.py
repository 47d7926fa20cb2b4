"""Who was shown what: rows that are never archived, unlike the audit log's months.

They answer what a person or a program could still know when somebody leaves or something leaks.
"""

from django.db import models


class SecretDisclosure(models.Model):
    """A person was shown the secret of a version; written before it leaves."""

    member = models.ForeignKey("keyvault.Member", on_delete=models.CASCADE, related_name="reveals")
    version = models.ForeignKey(
        "keyvault.KeyVersion", on_delete=models.CASCADE, related_name="reveals"
    )
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "keyvault_reveal"
        constraints = [
            models.UniqueConstraint(fields=["member", "version"], name="reveal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.member} was shown {self.version}"


class TokenDisclosure(models.Model):
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
        db_table = "keyvault_tokentext"
        constraints = [
            models.UniqueConstraint(
                fields=["token"], condition=models.Q(ends_at=None), name="token_text_one_present"
            ),
        ]

    def __str__(self) -> str:
        return f"text of {self.token} shown to {self.member}"


class TokenKeyVersion(models.Model):
    """Which version one copy of a program was last given of a key, and what it proved to hold.

    A copy is what a token's bearer says of itself (`instance`), else the address that it calls from;
    `former` is what it was given before. Rows are written by keyvault/delivery/instances.py alone.
    """

    token = models.ForeignKey(
        "keyvault.ServiceToken", on_delete=models.CASCADE, related_name="fetches"
    )
    key = models.ForeignKey("keyvault.ApiKey", on_delete=models.CASCADE, related_name="fetches")
    # An id of the caller's; "@" and an address; "*" and a version for many that were put together;
    # empty for the one copy that is known from before copies were told apart.
    instance = models.CharField(max_length=64, default="", db_default="")
    version = models.ForeignKey("keyvault.KeyVersion", on_delete=models.CASCADE, related_name="+")
    former = models.ForeignKey(
        "keyvault.KeyVersion", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    # The longest pause between two fetches of lately, and when it ended; 0 is not known yet.
    pause_seconds = models.PositiveIntegerField(default=0, db_default=0)
    pause_at = models.DateTimeField(null=True)
    proved = models.ForeignKey(
        "keyvault.KeyVersion", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    proved_at = models.DateTimeField(null=True)
    copies = models.PositiveIntegerField(default=1, db_default=1)

    class Meta:
        db_table = "keyvault_holding"
        constraints = [
            models.UniqueConstraint(fields=["token", "key", "instance"], name="holding_once")
        ]

    def __str__(self) -> str:
        return f"{self.token} holds version {self.version_id} since {self.first_at:%Y-%m-%d %H:%M}"
