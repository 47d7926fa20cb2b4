"""Who sends a secret by a page proves first who they are; what was sent is kept nowhere meanwhile."""

from typing import Any

import pytest
from django.test import Client

from keyvault.models import VendorAccount
from rotation.models import FreezeCalendar, NotificationChannel
from tests import leakscan
from tests.api_client import sign_in

SECRET = "proof-canary-8812-of-an-address"
URL = f"https://hooks.example.com/{SECRET}"
FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "chat": ("/notices/hooks", {"name": "x", "kind": "chat", "url": URL}),
    "calendar": ("/calendar/import", {"ics-name": "x", "ics-url": URL}),
    "account": (
        "/accounts/",
        {"name": "x", "provider": "sandbox", "management_credential": SECRET},
    ),
    "first account": (
        "/start/account",
        {"name": "x", "provider": "sandbox", "management_credential": SECRET},
    ),
}


@pytest.mark.parametrize("which", FORMS)
def test_a_secret_is_not_kept_while_its_sender_proves_who_they_are(
    which: str, stack: Any, vendor: Any, people: Any
) -> None:
    path, form = FORMS[which]
    if "management_credential" in form:
        form = {**form, "base_url": vendor.url, "dashboard_url": vendor.url}
    client = sign_in(Client(), people.owner, proved=False)
    answer = client.post(path, form)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    assert answer["Location"].startswith("/account/reauthenticate/?next=")
    assert "account_reauthentication_state" not in client.session
    assert SECRET not in str(dict(client.session.items()))
    for stored in (VendorAccount, NotificationChannel, FreezeCalendar):
        assert not stored.objects.filter(name="x").exists()
    page = client.get(answer["Location"]).content.decode()
    assert "it was not saved" in page
    assert leakscan.hits(stack, [SECRET]) == []
