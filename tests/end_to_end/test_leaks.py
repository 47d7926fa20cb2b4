"""No secret outside Vault, whatever was done with it: the canary is searched for everywhere."""

import pytest

from keyvault.delivery import fetch
from rotation.consumers import registry
from rotation.engine import manual_keys
from rotation.models import Rotation
from tests import leakscan
from tests.api_client import sign_in
from tests.factories import make_key, secret_of, show
from tests.rotation.driving import drive, started
from tests.waiting import until


def test_rotating_under_real_workers_leaks_nothing(stack, vendor, place, people, worker):
    """B25, B26: task arguments, results, history, logs and dumps hold none of the secrets."""
    key = make_key(vendor, place, people.owner)
    new = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    # The first part of a token is public: it is how the token is looked up.
    token = new.token.reveal().split("_", 2)[2]
    seen = [secret_of(key.current), token, place.vendor_api["management_credential"]]
    show(people.owner, key, "looking for a fault")
    fetch.fetch(new.token.reveal(), key.pk)
    from rotation.engine import lifecycle

    rotation, _ = lifecycle.start(people.operator, key, "leak")
    until(lambda: Rotation.objects.get(pk=rotation.pk).step == "done", 40, "the rotation")
    key.refresh_from_db()
    seen.append(secret_of(key.current))
    assert leakscan.hits(stack, seen) == []


def test_failures_leak_nothing(stack, vendor, place, people, worker):
    """B10, B13, B61: a vendor that echoes the key, and errors on every path, leave no trace of it."""
    key = make_key(vendor, place, people.owner)
    manual = make_key(vendor, place, people.owner, manual=True)
    made = vendor.create_key(place.vendor_manual["id"])
    seen = [secret_of(key.current), secret_of(manual.current), made["key"]]
    vendor.fault("usage", times=None, kind="echo", status=401, code="SOMETHING_ODD")
    from keyvault.core.errors import KeyServiceError
    from rotation.engine import lifecycle

    for act in (
        lambda: manual_keys.add_standby(people.owner, manual, made["key"]),
        lambda: manual_keys.add_standby(people.owner, manual, made["key"] + "\u200b"),
        lambda: show(people.owner, key, "no"),
    ):
        with pytest.raises(KeyServiceError) as caught:
            act()
        assert leakscan.hits(stack, seen, [caught.value.message, repr(caught.value)]) == []
    rotation, _ = lifecycle.start(people.operator, key)
    until(lambda: Rotation.objects.get(pk=rotation.pk).attempt > 0, 30, "a failed try")
    assert leakscan.hits(stack, seen) == []


def test_the_scan_finds_a_leak(stack, people):
    """The scan itself is proven: a planted piece of a secret is found."""
    canary = "inf_" + "q7w8e9r0t1y2u3i4o5p6" * 2
    from keyvault.models import Application

    Application.objects.create(name="x " + canary[10:30])
    assert "postgres" in leakscan.hits(stack, [canary])


PAGES = (
    "/",
    "/keys/",
    "/keys/?q=key",
    "/keys/{key}/",
    "/keys/new/",
    "/rotations/",
    "/rotations/{rotation}/",
    "/applications/",
    "/applications/{application}/",
    "/accounts/",
    "/audit/",
    "/admin/keyvault/keyversion/",
    "/api/schema/",
    "/api/v1/keys/",
    "/api/v1/keys/{key}/",
    "/api/v1/rotations/{rotation}/",
    "/api/v1/tasks/",
    "/api/v1/consumers/",
    "/api/v1/tokens/",
    "/api/v1/accounts/",
    "/api/v1/audit/",
)


def test_no_page_and_no_list_shows_a_secret(stack, vendor, place, people, client):
    """B26, B67, B102: an owner who may see everything sees no secret that was not asked for."""
    key = make_key(vendor, place, people.owner)
    people.owner.is_superuser = True
    people.owner.save()
    new = registry.add_consumer(
        people.owner, "web-1", place.application, place.environment, webhook_url=vendor.url
    )
    assert new.webhook_secret
    seen = [
        secret_of(key.current),
        new.token.reveal().split("_", 2)[2],
        new.webhook_secret.reveal(),
        place.vendor_api["management_credential"],
    ]
    rotation = drive(started(people.operator, key), lambda r: r.published_at is not None)
    key.refresh_from_db()
    seen.append(secret_of(key.current))
    sign_in(client, people.owner)
    pages = []
    for path in PAGES:
        answer = client.get(
            path.format(key=key.pk, rotation=rotation.pk, application=place.application.pk)
        )
        assert answer.status_code == 200, path
        pages.append(answer.content.decode())
    assert leakscan.hits(stack, seen, pages) == []
