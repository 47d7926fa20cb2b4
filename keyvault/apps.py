"""The inventory app."""

from django.apps import AppConfig


class KeyVaultConfig(AppConfig):
    """Keys, their owners, and where the secrets are."""

    name = "keyvault"

    def ready(self) -> None:
        """Register checks and a lookup; listen to changes of factors; start the error tracker."""
        from django.conf import settings

        from keyvault import checks  # noqa: F401
        from keyvault.access import signals
        from keyvault.core import lookups

        lookups.register()
        signals.listen()

        if settings.SENTRY_DSN:
            from keyvault.core import error_reporting

            error_reporting.start(settings.SENTRY_DSN, settings.SENTRY_ENVIRONMENT)
