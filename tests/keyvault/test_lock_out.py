"""F21: wrong passwords close an account to strangers, and never to the person it belongs to."""

from typing import Any

import pytest
from django.test import Client

from keyvault.core.errors import Denied
from tests.factories import PASSWORD
from tests.keyvault.test_signing_in import WRONG, enter


def _closed(email: str = "owner@example.com") -> None:
    for number in range(12):
        enter(Client(), email, "not this", REMOTE_ADDR=f"10.0.{number}.9")


def test_strangers_cannot_keep_a_person_out_of_their_own_browser(people: Any) -> None:
    """F21: ten wrong passwords from anywhere closed the account, again and again."""
    mine = Client()
    enter(mine, REMOTE_ADDR="10.5.5.5")
    mine.post("/sign-out")
    _closed()
    assert enter(Client(), REMOTE_ADDR="10.6.6.6").status_code == 400, "strangers stay out"
    assert enter(mine, REMOTE_ADDR="10.7.7.7").status_code == 302
    mine.post("/sign-out")
    # Also where the strangers share its address.
    for number in range(40):
        enter(Client(), f"guess{number}@example.com", "not this", REMOTE_ADDR="10.7.7.7")
    assert enter(mine, REMOTE_ADDR="10.7.7.7").status_code == 302


def test_guessing_in_a_known_browser_is_bounded_too(people: Any) -> None:
    mine = Client()
    enter(mine)
    mine.post("/sign-out")
    for _ in range(10):
        assert WRONG in enter(mine, password="not this").content.decode()
    assert "Too many tries" in enter(mine).content.decode()


def test_a_known_browser_is_known_for_one_person_and_one_password(people: Any) -> None:
    mine = Client()
    enter(mine, "operator@example.com")
    mine.post("/sign-out")
    _closed()
    assert enter(mine).status_code == 400, "somebody else's cookie opens nothing"
    _closed("operator@example.com")
    people.operator.set_password("another long one entirely 7")
    people.operator.save()
    assert enter(mine, "operator@example.com", "another long one entirely 7").status_code == 400
    mine.cookies["keyvault_known"] = mine.cookies["keyvault_known"].value + "x"
    assert enter(mine).status_code == 400


def test_strangers_cannot_keep_a_person_from_where_they_are_signed_in(people: Any) -> None:
    """F21: another browser at the address of a live session."""
    enter(Client(), REMOTE_ADDR="10.5.5.5")
    _closed()
    assert enter(Client(), REMOTE_ADDR="10.5.5.5").status_code == 302


def test_strangers_cannot_keep_a_person_from_proving_who_they_are(people: Any) -> None:
    from keyvault.access.authentication import prove_by_password

    _closed()
    assert prove_by_password(people.owner, PASSWORD)
    assert not any(prove_by_password(people.owner, "not this") for _ in range(10))
    with pytest.raises(Denied):
        prove_by_password(people.owner, PASSWORD)


def test_owners_are_told_of_a_closed_account_once_a_day(people: Any) -> None:
    """U24."""
    from rotation.models import Notification, NotificationDelivery
    from rotation.notifications import triggers

    _closed("operator@example.com")
    triggers.scan()
    triggers.scan()
    notice = Notification.objects.get(about__startswith="locked:")
    assert "operator@example.com" in notice.title or str(people.operator) in notice.title
    told = NotificationDelivery.objects.filter(notice=notice).values_list("member", flat=True)
    assert {people.owner.pk, people.operator.pk} <= set(told)
