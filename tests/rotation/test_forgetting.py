"""What was told long ago goes; what marks that a cause was told stays while the cause may be there."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from rotation.human_tasks import close_alert, open_alert
from rotation.models import HumanTask, Notification, NotificationDelivery
from rotation.notifications import triggers
from rotation.notifications.notify import NewNotification, notify
from rotation.notifications.retention import forget_told
from tests.api_client import counting
from tests.rotation.test_notices import ACTOR


def told(about: str, people: Any, task: HumanTask | None = None) -> Notification:
    assert notify(
        NewNotification(about, Notification.Kind.TASK, "title", "text", task=task), [people.owner]
    )
    NotificationDelivery.objects.filter(notice__about=about).update(state="sent")
    return Notification.objects.get(about=about)


def age(days: float) -> None:
    Notification.objects.update(created_at=timezone.now() - timedelta(days=days))


def test_old_notices_go_with_their_messages(people: Any) -> None:
    told("one", people)
    age(settings.NOTIFICATION_RETENTION_DAYS - 1)
    told("young", people)
    assert forget_told() == 0
    Notification.objects.filter(about="one").update(
        created_at=timezone.now() - timedelta(days=settings.NOTIFICATION_RETENTION_DAYS + 1)
    )
    assert forget_told() == 1
    assert [notice.about for notice in Notification.objects.all()] == ["young"]
    assert set(NotificationDelivery.objects.values_list("notice__about", flat=True)) == {"young"}


def test_what_still_waits_stays_and_nothing_is_told_twice(people: Any) -> None:
    """A task that nobody did for years was told once, and is not told anew each year."""
    task = open_alert(ACTOR, HumanTask.Kind.FINDING, "here", "text")
    triggers.scan()
    NotificationDelivery.objects.update(state="sent")
    told("waits", people)
    NotificationDelivery.objects.filter(notice__about="waits").update(state="waiting")
    age(4000)
    assert forget_told() == 0
    known = Notification.objects.count()
    HumanTask.objects.update(opened_at=timezone.now())
    triggers.scan()
    assert Notification.objects.count() == known
    close_alert(ACTOR, HumanTask.Kind.FINDING, "here", "done")
    assert forget_told() == 0, "that it is over was not told yet"
    HumanTask.objects.filter(pk=task.pk).update(closed_at=timezone.now() - timedelta(days=31))
    assert forget_told() >= 1
    assert Notification.objects.get().about == "waits"


@override_settings(NOTIFICATION_RETENTION_DAYS=1)
def test_the_marks_of_a_keys_rungs_outlive_the_ladder(people: Any) -> None:
    told("expiry:1:30", people)
    age(max(triggers.reminder_days()) + 29)
    assert forget_told() == 0
    age(max(triggers.reminder_days()) + 31)
    assert forget_told() == 1


def test_it_costs_the_same_however_many_go(people: Any) -> None:
    def statements(number: int) -> int:
        for one in range(number):
            told(f"{number}-{one}", people)
        age(4000)
        with counting() as sent:
            assert forget_told() == number
        return len(sent)

    assert statements(2) == statements(12) <= 9
