"""What real installations have beside the many good applications, and the people who look after it.

Each lie of the vendor and each oddity of a program broke the promise once. None of them may cost a
holder a call: at most a rotation waits until a person has started a program anew, ended it, or put
a wrong id right.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.utils import timezone

from keyvault.core.errors import KeyServiceError

EXPIRES_SECONDS = 60
# How long a person lets a rotation wait before they start what lags anew, and before they end it.
START_AFTER, END_AFTER = 30.0, 45.0
_ODD = (
    ("once", False),
    ("once", True),
    ("nightly", False),
    ("nightly", True),
    ("copies", False),
    ("copies", True),
    ("tokenless", False),
    ("expired", False),
    ("expired", True),
    ("swapped", False),
    ("swapped", False),
    ("doomed", False),
    ("doomed", True),
)


class Odd:
    """The odd programs with their keys, and the person who looks after them."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.kinds: dict[int, str] = {}
        self.ids: dict[int, str] = {}
        for number, (kind, manual) in enumerate(_ODD):
            self._add(f"Odd {number} {kind}", kind, manual)
        self._swap()

    def _add(self, name: str, kind: str, manual: bool) -> None:
        from keyvault.delivery import tokens
        from keyvault.models import Application
        from rotation.consumers import registry
        from tests.factories import make_key, secret_of

        world, owner = self.world, self.world.people.owner
        place, application = world.place, Application.objects.create(name=name)
        ends = timezone.now() + timedelta(seconds=EXPIRES_SECONDS) if kind == "expired" else None
        if kind == "tokenless":
            _, text = tokens.issue(owner, name, application, place.environment)
        else:
            new = registry.add_consumer(
                owner, name, application, place.environment, expires_at=ends
            )
            text = new.token
        key = make_key(world.vendor, place, owner, manual=manual, application=application)
        made = world.vendor.lookup(secret_of(key.current))
        world.made_by_hand[made["id"]] = key.pk
        world.keys.append(key)
        world.configs.append(world.config(key, text.reveal(), kind))
        self.kinds[key.pk] = kind

    def _swap(self) -> None:
        """Let two rows of an import have each other's id, as a slip of a sheet leaves them."""
        from keyvault.models import KeyVersion

        pair = [
            KeyVersion.objects.get(key=key, state="current")
            for key, kind in self.kinds.items()
            if kind == "swapped"
        ]
        self.ids = {version.pk: version.vendor_id for version in pair}
        for version, other in zip(pair, reversed(pair), strict=True):
            KeyVersion.objects.filter(pk=version.pk).update(vendor_id=other.vendor_id)

    def look_after(self) -> None:
        """Start anew, and in the end stop, what a rotation has been waiting for."""
        from rotation.engine import lifecycle
        from rotation.models import Rotation, WaitingFor

        waits = (WaitingFor.ADOPTION, WaitingFor.QUIET, WaitingFor.PERSON)
        for rotation in Rotation.objects.filter(
            key__in=list(self.kinds), finished_at=None, waiting_for__in=waits
        ).exclude(published_at=None):
            waited = (timezone.now() - (rotation.published_at or timezone.now())).total_seconds()
            if waited > END_AFTER and self.kinds[rotation.key_id] == "expired":
                self._end(rotation)
            elif waited > END_AFTER and self.kinds[rotation.key_id] == "doomed":
                with suppress(KeyServiceError):
                    lifecycle.waive(self.world.people.owner, rotation, "It was dead already.")
            elif waited > END_AFTER and self.kinds[rotation.key_id] == "swapped":
                self.mend(rotation)  # by the wrong id the vendor tells another program's use
            elif waited > START_AFTER:
                self._act(rotation.key_id, "start")

    def _end(self, rotation: Any) -> None:
        """End the program, and say that nothing needs the old key once it has ended."""
        from rotation.engine import lifecycle

        if not (self.world.applications / f"ended-{rotation.key_id}").exists():
            self._act(rotation.key_id, "end")
            return
        with suppress(KeyServiceError):
            lifecycle.waive(self.world.people.owner, rotation, "Its program was ended.")

    def _act(self, key_id: int, what: str) -> None:
        (self.world.applications / f"act-{key_id}").write_text(what)

    def mend(self, rotation: Any) -> None:
        """Put a wrong vendor id right, as the task of a parked rotation asks."""
        from keyvault.models import KeyVersion

        if rotation.old_version_id in self.ids:
            KeyVersion.objects.filter(pk=rotation.old_version_id).update(
                vendor_id=self.ids[rotation.old_version_id], link=""
            )

    def end_one_early(self, vendor: Any) -> bool:
        """Delete an old key at the vendor while its rotation waits; returns whether one was there."""
        from rotation.models import Rotation
        from sandbox.vendor_client import VendorRefused
        from tests.factories import secret_of

        doomed = [key for key, kind in self.kinds.items() if kind == "doomed"]
        for rotation in Rotation.objects.filter(key__in=doomed, step="verify").select_related(
            "old_version"
        ):
            with suppress(VendorRefused, KeyServiceError):
                vendor.delete_key_by_secret(secret_of(rotation.old_version))
                return True
        return False

    def excused(self) -> set[str]:
        """Return the vendor's ids of keys that somebody ended early, or whose program was stopped."""
        from keyvault.models import KeyVersion

        kinds = ("doomed", "expired")
        keys = [key for key, kind in self.kinds.items() if kind in kinds]
        ids = KeyVersion.objects.filter(key__in=keys).values_list("vendor_id", flat=True)
        by_hand = {one for one, key in self.world.made_by_hand.items() if key in keys}
        return {*ids} | by_hand
