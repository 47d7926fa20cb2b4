"""What keys exist, whose they are, where the secret is, who touched it."""

from keyvault.celery import app as celery_app

__all__ = ["celery_app"]
