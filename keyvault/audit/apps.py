"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The append-only, hash-chained record of who did what."""

    name = "keyvault.audit"
    label = "audit"
