"""The rotation app."""

from django.apps import AppConfig


class RotationConfig(AppConfig):
    """Policies, rotations and what people must do for them."""

    name = "rotation"
