"""Several web processes, each with a memory of its own: what is committed holds for the next request."""

from typing import Any

import requests

from keyvault.audit.models import AuditEvent
from keyvault.delivery import tokens
from keyvault.models import ServiceToken
from tests.factories import make_key, secret_of
from tests.keyvault.test_fetching import next_version
from tests.soak import scene

EACH = 6


def test_what_is_published_or_ended_shows_in_the_next_fetch_of_every_process(
    stack: Any, live_url: str, vendor: Any, place: Any, people: Any
) -> None:
    key = make_key(vendor, place, people.owner)
    made = tokens.issue(people.owner, "app", place.application, place.environment)
    headers = {"Authorization": f"Bearer {made[1].reveal()}"}
    with scene.web(stack, workers=2, threads=2) as other:

        def answers(**more: str) -> list[tuple[int, str]]:
            """Ask all processes several times, on a connection of its own each time."""
            found = []
            for url in [live_url, other] * EACH:
                address = f"{url}/api/v1/keys/{key.pk}/secret"
                got = requests.get(address, headers={**headers, **more}, timeout=10)
                found.append((got.status_code, got.json().get("secret", "") if got.content else ""))
            return found

        assert set(answers()) == {(200, secret_of(key.current))}
        for number in range(3):
            version = next_version(key, f"-{number}")
            stale = {"If-None-Match": f'"{version.pk - 1}"'}
            assert set(answers(**stale)) == {(200, secret_of(version))}
            assert set(answers(**{"If-None-Match": f'"{version.pk}"'})) == {(304, "")}
        tokens.revoke(people.owner, ServiceToken.objects.get())
        assert set(answers()) == {(401, "")}
    rows = AuditEvent.objects.filter(action="secret.fetched", outcome="ok")
    assert rows.count() == 4 * 2 * EACH, "each answer with a secret is on record"
