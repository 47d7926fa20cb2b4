"""Put away a key that was retired: in the transaction in which its retirement ends."""

from django.db.models.functions import Now

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.models import ApiKey
from rotation.actors import worker_actor
from rotation.human_tasks import close_tasks_about
from rotation.models import Pause, Rotation, RotationPolicy, Watch


def archive(rotation: Rotation) -> None:
    """Hide the key, free its name, and let nothing plan, watch or remind of it any more."""
    actor, key = worker_actor(rotation), rotation.key
    ApiKey.objects.filter(pk=key.pk).update(archived_at=Now(), current=None)
    RotationPolicy.objects.filter(key=key).delete()
    Watch.objects.filter(key=key).delete()
    Pause.objects.filter(key=key).delete()
    close_tasks_about(actor, key, "The key is retired.")
    record(Action.KEY_RETIRED, actor, key, reason=rotation.retire_reason)
