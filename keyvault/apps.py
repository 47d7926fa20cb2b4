"""The inventory app."""

from django.apps import AppConfig


class KeyVaultConfig(AppConfig):
    """Keys, their owners, and where the secrets are."""

    name = "keyvault"

    def ready(self) -> None:
        """Register the system checks; start the error tracker where one is set."""
        from django.conf import settings

        from keyvault import checks  # noqa: F401

        if settings.SENTRY_DSN:
            from keyvault import sentry

            sentry.start(settings.SENTRY_DSN, settings.SENTRY_ENVIRONMENT)
