"""`any` finds what `in` finds, with one parameter for however many values."""

import uuid
from typing import Any

import pytest

from keyvault.models import ApiKey, KeyVersion, VendorAccount
from tests.api_client import counting
from tests.factories import lone_key


@pytest.fixture
def versions(vendor: Any, place: Any, people: Any) -> list[KeyVersion]:
    keys = [lone_key(vendor, place, people.owner) for _ in range(3)]
    return list(KeyVersion.objects.filter(key__in=keys).order_by("pk"))


@pytest.mark.parametrize("field", ["pk", "path", "fingerprint", "key__account__name", "added_by"])
def test_it_finds_and_leaves_out_what_in_does(versions: list[KeyVersion], field: str) -> None:
    every = KeyVersion.objects.order_by("pk")
    values = list(every.values_list(field, flat=True)[:2])
    if field == "added_by":
        field = "added_by__pk"
    for rows in (every.filter, every.exclude):
        assert list(rows(**{f"{field}__any": values})) == list(rows(**{f"{field}__in": values}))
    with counting() as statements:
        assert not every.filter(**{f"{field}__any": []}).exists()
    assert statements == [], "nothing is asked for nothing"
    assert every.exclude(**{f"{field}__any": []}).count() == 3


def test_a_value_longer_than_the_column_finds_nothing(versions: list[KeyVersion]) -> None:
    name = VendorAccount.objects.values_list("name", flat=True)[0]
    length = int(VendorAccount._meta.get_field("name").max_length or 0)
    VendorAccount.objects.filter(name=name).update(name="x" * length)
    assert VendorAccount.objects.filter(name__any=["x" * length]).count() == 1
    assert not VendorAccount.objects.filter(name__any=["x" * (length + 1)]).exists()


@pytest.mark.parametrize(
    ("model", "field", "make"),
    [(ApiKey, "pk", lambda number: number), (KeyVersion, "path", lambda _: uuid.uuid4())],
)
def test_a_hundred_thousand_values_are_one_parameter(
    versions: list[KeyVersion], model: Any, field: str, make: Any
) -> None:
    known = list(model.objects.values_list(field, flat=True))
    values = [*(make(10**6 + number) for number in range(100_000)), *known]
    rows = model.objects.filter(**{f"{field}__any": values}).order_by("pk")
    assert len(rows) == len(known) == 3
    _, parameters = rows.query.sql_with_params()
    assert len(parameters) == 1
