"""Each kind of task has a completion by the API that is defined, and never an error of ours."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keyvault.api.tasks import _BODIES
from keyvault.audit.actors import system_actor
from rotation.human_tasks import open_alert
from rotation.models import HumanTask, KeyCheckSchedule
from rotation.monitoring import key_checks
from tests.api_client import Api
from tests.factories import make_key


def incident(vendor: Any, key: Any) -> HumanTask:
    """Have the watch see that the vendor refuses the key."""
    vendor.patch_key(key.current.vendor_id, disabled=True)
    key_checks.claim_due()
    for _ in range(key_checks.REFUSALS):
        KeyCheckSchedule.objects.update(next_check_at=timezone.now() - timedelta(minutes=1))
        key_checks.check(key.pk)
    return HumanTask.objects.get(kind="incident", closed_at=None)


def test_an_incident_is_completed_by_asking_the_vendor_again(
    vendor: Any, place: Any, people: Any
) -> None:
    """F10: it was a 500 for each incident. Refused still: 409 with what to do; accepted: closed."""
    key: Any = make_key(vendor, place, people.owner)
    task = incident(vendor, key)
    refused = Api(people.operator).post(f"tasks/{task.pk}/complete", {})
    assert (refused.status, refused.code) == (409, "conflict")
    assert "stays open" in refused.json["message"]
    vendor.patch_key(key.current.vendor_id, disabled=False)
    done = Api(people.operator).post(f"tasks/{task.pk}/complete", {})
    assert done.status == 200
    assert done.json["task"]["closed_by"]["id"] == people.operator.pk


@pytest.mark.parametrize("kind", HumanTask.Kind.values)
def test_no_kind_of_task_is_without_a_completion(place: Any, people: Any, kind: str) -> None:
    """F10: an alert of any kind, about no key and no rotation, answers with a sentence."""
    task = open_alert(system_actor("a test"), HumanTask.Kind(kind), "something", "Look at it.")
    said = {
        "SecretFields": {"secret": "sk_not_a_real_key_0123456789"},
        "WaiveFields": {"reason": "I looked at it and it is fine"},
    }
    body = said.get(_BODIES[kind].__name__, {})
    answer = Api(people.owner).post(f"tasks/{task.pk}/complete", body)
    assert answer.status in (200, 409), answer.text
    assert HumanTask.objects.filter(pk=task.pk).exists()
