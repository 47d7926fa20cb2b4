"""The inventory app."""

from django.apps import AppConfig


class KeyVaultConfig(AppConfig):
    """Keys, their owners, and where the secrets are."""

    name = "keyvault"

    def ready(self) -> None:
        """Register checks and a lookup; listen to changes of factors; start the error tracker."""
        from django.conf import settings

        from keyvault import checks, factor_log, lookups  # noqa: F401

        lookups.register()
        factor_log.listen()

        if settings.SENTRY_DSN:
            from keyvault import sentry

            sentry.start(settings.SENTRY_DSN, settings.SENTRY_ENVIRONMENT)
