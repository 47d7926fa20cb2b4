"""The inventory app."""

from django.apps import AppConfig


class KeyVaultConfig(AppConfig):
    """Keys, their owners, and where the secrets are."""

    name = "keyvault"

    def ready(self) -> None:
        """Register the system checks."""
        from keyvault import checks  # noqa: F401
