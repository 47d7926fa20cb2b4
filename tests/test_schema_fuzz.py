"""Schemathesis walks the API as its own description says it is: nothing it sends is answered by a 5xx.

Everything is real; the sequence is fixed, so that a failure is the same failure the next time.
"""

from typing import Any

import pytest
import schemathesis
from django.conf import settings as ours
from hypothesis import HealthCheck, Phase, given, settings

from keyvault.wsgi import application
from tests.api_client import Api
from tests.factories import make_key

_FIXED = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def described(people: Any) -> tuple[Any, dict[str, Any]]:
    """Return the schema as an owner is given it, and the cookies of that owner's session."""
    api = Api(people.owner)
    api.client.get("/account/")
    cookies = {name: one.value for name, one in api.client.cookies.items()}
    given_with = {
        "cookies": cookies,
        "headers": {"X-CSRFToken": cookies[ours.CSRF_COOKIE_NAME]},
    }
    schema = schemathesis.openapi.from_dict(api.get("/api/schema/").json)
    schema.app = application
    schema.config.update(base_url="http://testserver/")
    return schema, given_with


def test_no_operation_answers_with_a_server_error(
    described: tuple[Any, dict[str, Any]], vendor: Any, place: Any, people: Any
) -> None:
    """Not one 5xx but those that say that a part is away, on any route with any body."""
    schema, given_with = described
    make_key(vendor, place, people.owner)
    codes: dict[int, int] = {}
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:

        @_FIXED
        @given(case=operation.as_strategy())
        def walk(case: Any) -> None:
            answer = case.call(**given_with)
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            away = answer.status_code == 503 and answer.json()["code"] != "error"
            assert answer.status_code < 500 or away, (case.as_curl_command(), answer.text)

        walk()
    assert len(operations) > 70
    # It got past the door: some was accepted, and most of the nonsense was told what is wrong.
    assert codes.get(200, 0) > 20, codes
    assert codes[400] > 100
