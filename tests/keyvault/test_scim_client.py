"""A public conformance client (scim2-tester) against the application: what it may object to, and why."""

import uuid
from typing import Any

from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_tester import Status, check_server

from keyvault.wsgi import application
from tests.keyvault.test_directory import TOKEN

# What is refused on purpose, by words of the client's or our sentence, and why.
REFUSED = {
    "'active'": "a person is here or not",
    "'emails'": "its user names are no addresses, and without one nobody can sign in or be told",
    "'displayName'": "once taken away it falls back to the name: pages and the log need one",
}


class WithAddress(WSGISCIMClient):
    """The client invents people with a user name alone: each is given an address as well."""

    def create(self, *args: Any, **options: Any) -> Any:
        return super().create(addressed(args[0]), *args[1:], **options)

    def replace(self, *args: Any, **options: Any) -> Any:
        return super().replace(addressed(args[0]), *args[1:], **options)


def addressed(resource: Any) -> Any:
    if not any(one.value for one in getattr(resource, "emails", None) or ()):
        resource.emails = [{"value": f"{uuid.uuid4()}@example.com"}]
    return resource


def test_a_conformance_client_is_content_but_for_what_is_refused_on_purpose(
    people: Any, settings: Any
) -> None:
    """P11: it could not even discover the server."""
    settings.SCIM_TOKEN, settings.BASE_URL = TOKEN, "http://localhost"
    client = WithAddress(
        application,
        base_url="http://localhost/scim/v2",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    results = check_server(client)
    assert len(results) > 50
    bad = [one for one in results if one.status not in (Status.SUCCESS, Status.SKIPPED)]
    told = [f"{one.title}: {one.reason}" for one in bad]
    other = [one for one in told if not any(word in one for word in REFUSED)]
    assert not other, "\n".join(other)
    assert len(told) <= len(REFUSED) + 1, "what it adds stands beside the address given here"
