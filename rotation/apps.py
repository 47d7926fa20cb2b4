"""The rotation app."""

from django.apps import AppConfig


class RotationConfig(AppConfig):
    """Policies, rotations and what people must do for them."""

    name = "rotation"

    def ready(self) -> None:
        """Connect what the inventory, the fetch and the directory ask of this app."""
        from keyvault import hooks
        from rotation.campaigns import reinstatement
        from rotation.engine import missing_secrets
        from rotation.human_tasks import open_review
        from rotation.notifications import directory_events

        hooks.open_review.connect(open_review)
        hooks.refuse_return.connect(reinstatement.refuse)
        hooks.close_return_request.connect(directory_events.no_return_asked)
        hooks.report_lost_secret.connect(missing_secrets.noticed)
        hooks.notify_owners.connect(directory_events.tell_owners)
