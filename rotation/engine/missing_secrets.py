"""Act when an application asks for a current secret that Vault has not: look at once, tell people."""

import time

from keyvault.audit.actors import system_actor
from keyvault.core.ttl_cache import TTLCache
from keyvault.models import KeyVersion
from rotation import lost_secrets
from rotation.models import Rotation, Step
from rotation.queue import look_now, open_rotation

# Programs ask every second: that their secret is gone is acted on now and then.
_ACTED_EVERY = 15.0
_acted: TTLCache[int, bool] = TTLCache(1000)


def noticed(version: KeyVersion, why: str) -> str:
    """Have a lost current secret dealt with, and return what happens now, for whoever asked for it."""
    acts = _acted.get(version.pk, time.monotonic()) is None
    if acts:
        _acted.put(version.pk, True, time.monotonic() + _ACTED_EVERY)
    rotation = open_rotation(version.key)
    if rotation is None:
        # guard: fetch that finds nothing tells people
        if acts:
            _tell(version, why)
        return "A rotation replaces it: people were told, and one of them must start it."
    # guard: fetch that finds nothing wakes the rotation
    if acts:
        look_now(rotation)
    if _is_its_new_one(rotation, version):
        return (
            "The service goes back to the former key by itself if that one still works. Ask again in "
            "a moment; people were told."
        )
    return f"A rotation replaces it and is under way (at “{rotation.get_step_display().lower()}”)."


def _is_its_new_one(rotation: Rotation, version: KeyVersion) -> bool:
    back = (Step.UPDATE, Step.VERIFY, Step.DELETE, Step.ROLL_BACK)
    return rotation.new_version_id == version.pk and rotation.step in back


def _tell(version: KeyVersion, why: str) -> None:
    whole = KeyVersion.objects.select_related("key__account", "key__environment").get(pk=version.pk)
    text = (
        f"An application asked for the secret of {whole.key} (version {whole.number}) and Vault has it "
        f"not: {why} Applications have no key now. Rotate it, and look in Vault's audit log who removed "
        "the secret."
    )
    lost_secrets.tell_incident(system_actor("fetch"), whole, text)


def forget() -> None:
    """Act on the next question, whenever the last one was."""
    _acted.clear()
