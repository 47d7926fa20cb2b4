"""The pages of one rotation and of one task: what moves, what can be done, and by whom."""

import pytest
from django.urls import reverse

from keyvault.console.progress import track
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Reason, Rotation, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.pages import as_, text
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="Video upload")


@pytest.fixture
def manual(vendor, place, people):
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    return make_key(vendor, place, people.owner, manual=True, name="Nightly export")


@pytest.fixture
def waiting(people, manual):
    """Return a rotation that waits for a person to paste a key."""
    rotation = drive(started(people.operator, manual))
    assert rotation.waiting_for == WaitingFor.KEY
    return rotation


def made(vendor, place):
    return vendor.create_key(place.vendor_manual["id"])["key"]


def test_the_rotation_page_says_what_it_waits_for_and_who_can_help(client, people, waiting):
    address = reverse("rotation", args=[waiting.pk])
    page = text(as_(client, people.operator).get(address))
    assert "Waiting for a key from a person" in page
    assert "An operator or an owner of Billing in Development can help." in page
    assert "Open the task" in page
    assert "Cancel this rotation" in page
    assert "Cancel this rotation" not in text(as_(client, people.viewer).get(address))
    assert as_(client, people.outsider).get(address).status_code == 404


def test_a_page_that_is_up_to_date_is_left_alone(client, people, waiting):
    as_(client, people.operator)
    facts = client.get(reverse("rotation", args=[waiting.pk])).context
    address = reverse("rotation-live", args=[waiting.pk])
    query = {"seen": facts["seen"], "acts": facts["acts"]}
    assert client.get(address, query).status_code == 204
    Rotation.objects.filter(pk=waiting.pk).update(waiting_text="Something else now.")
    moved = client.get(address, query)
    assert "Something else now." in text(moved)
    assert 'id="acts"' not in text(moved)  # what can be done is the same: no form is replaced


def test_forms_are_replaced_when_what_can_be_done_has_changed(
    client, vendor, place, people, waiting
):
    as_(client, people.operator)
    facts = client.get(reverse("rotation", args=[waiting.pk])).context
    query = {"seen": facts["seen"], "acts": facts["acts"]}
    manual_keys.paste_for(people.operator, waiting, made(vendor, place))
    drive(waiting, lambda r: r.step == Step.VERIFY and r.waiting_for == WaitingFor.ADOPTION)
    moved = text(client.get(reverse("rotation-live", args=[waiting.pk]), query))
    assert 'id="acts" tabindex="-1" hx-swap-oob="true"' in moved
    assert "Confirm and go on" in moved
    assert "data-poll" in moved


def test_an_ended_rotation_asks_no_more(client, people, key):
    rotation = drive(started(people.operator, key, reason=Reason.LEAK))
    page = text(as_(client, people.viewer).get(reverse("rotation", args=[rotation.pk])))
    assert "data-poll" not in page
    assert "Old key refused" in page
    assert 'data-step="done"' in page


def act(client, rotation, deed, **sent):
    return client.post(reverse("rotation-action", args=[rotation.pk, deed]), sent, follow=True)


def test_cancel_once_and_twice(client, people, waiting):
    as_(client, people.operator)
    assert "Cancelling" in text(act(client, waiting, "cancel"))
    again = act(client, waiting, "cancel")
    assert again.status_code == 409
    assert "can no longer be cancelled" in text(again)
    drive(waiting)
    assert waiting.step == Step.CANCELLED


def test_waive_wants_a_reason_and_keeps_what_was_typed(client, vendor, place, people, waiting):
    manual_keys.paste_for(people.operator, waiting, made(vendor, place))
    drive(waiting, lambda r: r.step == Step.VERIFY and r.waiting_for == WaitingFor.ADOPTION)
    as_(client, people.operator)
    short = act(client, waiting, "waive", reason="no")
    assert short.status_code == 400
    assert 'value="no"' in text(short)
    assert act(client, waiting, "waive", reason="a\x00bcdef").status_code == 400
    assert "Confirmed" in text(act(client, waiting, "waive", reason="the job was redeployed"))
    waiting.refresh_from_db()
    assert waiting.waived_by == people.operator


def test_look_and_retry_wake_the_rotation(client, people, waiting):
    as_(client, people.operator)
    wake = waiting.wake
    act(client, waiting, "look")
    act(client, waiting, "retry")
    waiting.refresh_from_db()
    assert waiting.wake == wake + 2


@pytest.mark.parametrize("deed", ["cancel", "retry", "waive", "look"])
def test_acts_are_refused_to_those_who_may_only_look(client, people, waiting, deed):
    assert act(as_(client, people.viewer), waiting, deed, reason="long enough").status_code == 403
    assert act(as_(client, people.outsider), waiting, deed).status_code == 404
    # Loaded as a page it does nothing: it leads to the page that has the form.
    loaded = client.get(reverse("rotation-action", args=[waiting.pk, deed]))
    assert (loaded.status_code, loaded["Location"]) == (302, f"/rotations/{waiting.pk}/")


def test_there_is_no_other_act(client, people, waiting):
    assert act(as_(client, people.operator), waiting, "explode").status_code == 404


def the_task(rotation, kind):
    return HumanTask.objects.get(rotation=rotation, kind=kind)


def test_the_task_page_leads_through_it(client, place, people, waiting):
    address = reverse("task", args=[the_task(waiting, "paste").pk])
    page = text(as_(client, people.operator).get(address))
    assert "Generate New API Key" in page
    assert f'href="{place.manual_account.dashboard_url}" target="_blank"' in page
    assert 'type="password" name="secret"' in page
    watching = text(as_(client, people.viewer).get(address))
    assert "Your role lets you watch." in watching
    assert 'name="secret"' not in watching
    assert as_(client, people.outsider).get(address).status_code == 404


def test_a_paste_is_checked_at_once_and_never_shown(client, vendor, place, people, waiting):
    as_(client, people.operator)
    task = the_task(waiting, "paste")
    address = reverse("task-paste", args=[task.pk])
    for wrong, status in (("", 400), ("inf_" + "x1y2z3w4" * 5, 400)):
        answer = client.post(address, {"secret": wrong})
        assert answer.status_code == status
        assert "x1y2z3w4" not in text(answer)
    secret = made(vendor, place)
    answer = client.post(address, {"secret": f"Bearer {secret}"}, follow=True)
    assert "The vendor accepts the key. Stored as version 2." in text(answer)
    assert "The word “Bearer” in front of the key was removed." in text(answer)
    assert secret not in text(answer)
    assert client.post(address, {"secret": made(vendor, place)}).status_code == 409


def test_a_delete_task_closes_itself_when_the_key_is_refused(
    client, vendor, place, people, waiting
):
    old = waiting.old_version
    manual_keys.paste_for(people.operator, waiting, made(vendor, place))
    drive(waiting, lambda r: r.step == Step.VERIFY and r.waiting_for == WaitingFor.ADOPTION)
    lifecycle.waive(people.operator, waiting, "the batch job was redeployed")
    drive(waiting, lambda r: r.waiting_for == WaitingFor.DELETION)
    task = the_task(waiting, "delete")
    as_(client, people.operator)
    page = client.get(reverse("task", args=[task.pk]))
    assert f"{old.tail}</code>" in text(page)
    vendor.delete_key_by_secret(secret_of(old))
    drive(waiting)
    query = {"seen": page.context["seen"], "acts": page.context["acts"]}
    closed = text(client.get(reverse("task-live", args=[task.pk]), query))
    assert "Done" in closed
    assert "data-poll" not in closed


def test_the_track_tells_overlap_and_end(people, key):
    rotation = started(people.operator, key)
    assert [stop.mark for stop in track(rotation).stations] == ["here", "ahead", "ahead", "ahead"]
    drive(rotation, lambda r: r.step == Step.VERIFY)
    drawn = track(rotation)
    assert [(piece.look, piece.x1) for piece in drawn.new] == [
        ("alive", 12.5),
        ("serving", 37.5),
        ("ahead", 62.5),
    ]
    rotation.step = Step.DONE
    assert track(rotation).old_ends == 87.5
    rotation.step = Step.FAILED
    assert [piece.look for piece in track(rotation).old] == ["serving"]
    assert "serves on" in track(rotation).text
