"""A running worker, a vendor that is wrong about the old key, and a program that goes on using it."""

from typing import Any

import pytest

from rotation.consumers import registry
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Notification, Rotation, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.waiting import until


@pytest.mark.parametrize("manual", [False, True])
def test_no_key_ends_under_a_program_and_an_early_end_is_told(
    worker: Any, vendor: Any, place: Any, people: Any, manual: bool
) -> None:
    """B118, B116: the last use is shown as null; then somebody deletes the old key in the dashboard."""
    vendor.patch_account(place.vendor_api["id"], last_use_shown="null")
    key = make_key(vendor, place, people.owner, manual=manual)
    registry.add_consumer(people.owner, "night job", place.application, place.environment)
    rotation, _ = lifecycle.start(people.operator, key, overlap_seconds=0)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=2)

    def stands(step: str, waiting_for: str) -> bool:
        rotation.refresh_from_db()
        return (rotation.step, rotation.waiting_for) == (step, waiting_for)

    if manual:
        until(lambda: stands(Step.GENERATE, WaitingFor.KEY), 30)
        made = vendor.create_key(place.vendor_manual["id"])
        manual_keys.paste_for(people.operator, rotation, made["key"])
    until(lambda: stands(Step.VERIFY, WaitingFor.ADOPTION), 60)
    old = secret_of(rotation.old_version)

    def weighed() -> int:
        assert vendor.use(old) == 200
        return sum(one.count for one in rotation.attempts.filter(step=Step.VERIFY))

    tries = weighed()
    until(lambda: weighed() >= tries + 4, 60)
    assert stands(Step.VERIFY, WaitingFor.ADOPTION)

    vendor.delete_key_by_secret(old)
    until(lambda: Notification.objects.filter(urgent=True, key=key).exists(), 90)
    text = Notification.objects.get(urgent=True, key=key).text
    assert "was gone before we ended it" in text
    assert "night job" in text
    assert HumanTask.objects.filter(rotation=rotation, kind="incident", closed_at=None).exists()
    until(lambda: stands(Step.VERIFY, WaitingFor.ADOPTION), 30)
    assert (rotation.adopted_at, rotation.adopted_how) == (None, "")
