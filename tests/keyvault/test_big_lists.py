"""Lists of big tables: bounded work for the first page and any other, and a stable order (B72)."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.db import connections
from django.test import Client

from keyvault.admin import MOST
from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action
from tests.api_client import counting, sign_in
from tests.factories import make_key

MODELS = sorted(f"{one._meta.app_label}/{one._meta.model_name}" for one in admin.site._registry)
OURS = [name for name in MODELS if name.split("/")[0] in ("keyvault", "rotation", "audit")]
# Counts that have no bound: neither a LIMIT inside nor a condition that an index narrows.
_WHOLE = re.compile(r"SELECT (COUNT\(\*\)|DISTINCT)(?!.*LIMIT)", re.IGNORECASE)


@pytest.fixture
def operator(vendor: Any, place: Any, people: Any) -> Client:
    """Return the browser of somebody who may look at everything in the admin."""
    people.owner.is_superuser = True
    people.owner.save()
    for number in range(3):
        make_key(vendor, place, people.owner, name=f"key {number}")
    return sign_in(Client(), people.owner)


@pytest.mark.parametrize("model", OURS)
def test_no_list_of_the_admin_counts_or_sorts_out_a_whole_table(
    operator: Client, model: str
) -> None:
    """B72: the full count and the values of a filter took minutes on millions of rows."""
    with counting() as statements:
        answer = operator.get(f"/admin/{model}/")
    assert answer.status_code == 200
    assert [one for one in statements if _WHOLE.search(one)] == []
    assert len(statements) <= 14


def test_the_last_page_that_is_offered_exists_and_the_count_stops(operator: Client) -> None:
    record_now(Action.KEY_CHECKED, system_actor("first row"))
    with connections["audit"].cursor() as cursor:
        cursor.execute(
            "SELECT count(audit_append((SELECT payload::jsonb FROM audit_auditevent"
            " ORDER BY seq DESC LIMIT 1))) FROM generate_series(1, 10100)"
        )
    last = MOST // 50
    page = operator.get(f"/admin/audit/auditevent/?p={last}").content.decode()
    assert "10000 " in page
    assert f"?p={last + 1}" not in page
    numbers = []
    for place in (1, 2, last):
        page = operator.get(f"/admin/audit/auditevent/?p={place}").content.decode()
        numbers += [int(one) for one in re.findall(r"/audit/auditevent/(\d+)/change", page)]
    assert len(numbers) == 150
    assert numbers == sorted(set(numbers), reverse=True)


def test_rows_that_are_added_meanwhile_move_no_page_of_the_console(operator: Client) -> None:
    """The console pages by the last row seen: nothing is shown twice, nothing is passed over."""
    for number in range(120):
        record_now(Action.KEY_CHECKED, system_actor(f"row {number}"))
    seen: list[int] = []
    path = "/audit/?action=key.checked"
    for _ in range(10):
        page = operator.get(path).content.decode()
        seen += [int(one) for one in re.findall(r'<td class="mono small fixed">(\d+)</td>', page)]
        record_now(Action.KEY_CHECKED, system_actor("meanwhile"))
        older = re.search(r'<a href="(\?[^"]+)" rel="next">', page)
        if older is None:
            break
        path = "/audit/" + older[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 120
