"""Django's admin changes nothing by itself; its acts go through the doors, and are denied like them."""

import pytest

from keyvault.audit.models import AuditEvent
from keyvault.delivery import tokens
from keyvault.models import ServiceToken
from rotation.models import Rotation, Step
from tests.factories import make_key
from tests.pages import as_, text
from tests.rotation.driving import drive, started


@pytest.fixture
def staff(people):
    """Return the owner and the viewer as staff, who may open the admin."""
    for one in (people.owner, people.viewer):
        one.is_staff = one.is_superuser = True
        one.save()
    return people


def act(client, model, name, *rows):
    sent = {"action": name, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/{model}/", sent, follow=True)


def test_keys_are_rotated_from_the_admin_as_from_their_page(client, vendor, place, staff):
    key = make_key(vendor, place, staff.owner)
    page = act(as_(client, staff.owner), "keyvault/apikey", "rotate", key)
    assert "Done for 1." in text(page)
    rotation = Rotation.objects.get()
    assert rotation.requested_by == staff.owner
    assert AuditEvent.objects.filter(action="rotation.started").exists()
    assert drive(rotation).step == Step.DONE


def test_the_admin_gives_nobody_a_right_that_the_doors_do_not(client, vendor, place, staff):
    """A superuser with a viewer's role stays a viewer."""
    key = make_key(vendor, place, staff.owner)
    token, _ = tokens.issue(staff.owner, "web-1", place.application, place.environment)
    rotation = started(staff.owner, key)
    as_(client, staff.viewer)
    for model, name, row in (
        ("keyvault/apikey", "rotate", key),
        ("keyvault/servicetoken", "revoke", token),
        ("rotation/rotation", "cancel", rotation),
    ):
        page = text(act(client, model, name, row))
        assert "Done for" not in page
        assert "is revoked." not in page
        assert 'class="error"' in page
    assert not ServiceToken.objects.filter(revoked_at__isnull=False).exists()
    assert Rotation.objects.get().step == Step.GENERATE


def test_rotations_are_cancelled_and_tokens_end_from_the_admin(client, vendor, place, staff):
    rotation = started(staff.owner, make_key(vendor, place, staff.owner))
    token, _ = tokens.issue(staff.owner, "web-1", place.application, place.environment)
    as_(client, staff.owner)
    assert "Done for 1." in text(act(client, "rotation/rotation", "cancel", rotation))
    assert "is revoked." in text(act(client, "keyvault/servicetoken", "revoke", token))
    assert drive(rotation).step == Step.CANCELLED
    assert ServiceToken.objects.get().revoked_at is not None


@pytest.mark.parametrize("model", ["keyvault/keyversion", "keyvault_audit/auditevent"])
def test_secrets_and_the_log_are_there_to_look_at_only(client, vendor, place, staff, model):
    make_key(vendor, place, staff.owner)
    as_(client, staff.owner)
    page = client.get(f"/admin/{model}/")
    if page.status_code == 404:
        page = client.get("/admin/audit/auditevent/")
    assert page.status_code == 200
    assert "Delete selected" not in text(page)
    assert client.get(f"/admin/{model}/add/").status_code in (403, 404)
