"""Many keys at once: every line is found or refused with its number, and no text repeats a secret."""

import codecs
from typing import Any

import pytest
from django.test import Client

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput
from keyvault.inventory import bulk_import, import_formats
from keyvault.inventory.bulk_import import RECORD, Defaults
from keyvault.models import ApiKey
from rotation.engine import lifecycle
from rotation.models import Reason, Rotation
from tests import leakscan
from tests.api_client import counting, sign_in
from tests.commands import manage
from tests.factories import make_key, secret_of
from tests.pages import text
from tests.rotation.driving import drive

HEADER = "name,account,environment,application,secret"


def names(text: str) -> list[tuple[str, str]]:
    return [
        (row.values.get("name", ""), row.values.get("secret", ""))
        for row in import_formats.read(text)
    ]


def problems(text: str) -> list[tuple[int, str]]:
    return [(row.line, row.problem) for row in import_formats.read(text) if row.problem]


@pytest.mark.pure
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "FIRST=inf_value_one\nSECOND=inf_value_two\n",
        "name,secret\nFIRST,inf_value_one\nSECOND,inf_value_two\n",
    ],
)
def test_every_entry_is_found_whatever_stands_before_the_first(encode: Any, text: str) -> None:
    """B95: a byte order mark hid the first variable under an odd name, without an error."""
    found = names(import_formats.decode(encode(text)))
    assert found == [("FIRST", "inf_value_one"), ("SECOND", "inf_value_two")]


@pytest.mark.pure
def test_a_dotenv_text_as_people_write_it() -> None:
    """B95: export, quotes, comments, empty values, duplicates, and lines that are none."""
    text = """# keys of the shop
export FIRST=inf_one_plain
SECOND="inf_two # not a comment"
THIRD='inf_three'   # a comment
FOURTH = inf_four

EMPTY=
NOTHING
DOUBLE=inf_a
DOUBLE=inf_b
"""
    good = [
        (row.values["name"], row.values["secret"])
        for row in import_formats.read(text)
        if not row.problem
    ]
    assert good == [
        ("FIRST", "inf_one_plain"),
        ("SECOND", "inf_two # not a comment"),
        ("THIRD", "inf_three"),
        ("FOURTH", "inf_four"),
    ]
    assert problems(text) == [
        (7, "It has no value."),
        (8, "It is not NAME=value."),
        (9, "Its name stands in line 10 too."),
        (10, "Its name stands in line 9 too."),
    ]


@pytest.mark.pure
def test_a_csv_as_spreadsheets_write_it() -> None:
    text = 'Name;Secret;Purpose\n"a; b";inf_one;"line\nbreak"\n'
    text += 'short;inf_two\n;inf_three;x\nlast;"inf_open;y\n'
    assert names(text)[0] == ("a; b", "inf_one")
    assert problems(text) == [
        (4, "It has 2 cells, and the header has 3."),
        (5, "It has no name."),
        (6, "A quotation mark is not closed, or stands wrong."),
    ]


@pytest.mark.pure
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   \n\n",
        b"\xff\xfe\x00\x00a",
        b"\x80\x81\x82",
        b"name,canary-secret-8812\nx,y",
        b"name,name\nx,y",
    ],
)
def test_what_is_no_file_of_keys_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        import_formats.read(import_formats.decode(data))
    assert "canary" not in caught.value.message


@pytest.fixture
def made(vendor: Any, place: Any) -> list[str]:
    return [vendor.create_key(place.vendor_api["id"])["key"] for _ in range(3)]


def defaults(place: Any) -> Defaults:
    return Defaults(place.api_account, place.environment, place.application)


def states(fates: list[Any]) -> list[str]:
    return [fate.state for fate in fates]


def test_a_dry_run_says_each_rows_fate_and_stores_nothing(
    stack: Any, vendor: Any, place: Any, people: Any, made: list[str]
) -> None:
    existing = make_key(vendor, place, people.owner, name="taken")
    text = "\n".join(
        [
            HEADER,
            f"good,,,,{made[0]}",
            "later,,,,",
            f"spaced,,,,{made[1][:10]} {made[1][10:]}",
            f"elsewhere,Nowhere,,,{made[2]}",
            f"TAKEN,,,,{made[2]}",
            f"doubled,,,,{secret_of(existing.current)}",
        ]
    )
    before = len(vendor.ledger(route="usage"))
    fates = bulk_import.run(people.owner, text, defaults(place)).rows
    assert states(fates) == ["new", "without", "bad", "bad", "bad", "bad"]
    assert "white space inside" in fates[2].text
    assert "no such account" in fates[3].text
    assert "already a key named" in fates[4].text
    assert "recorded already" in fates[5].text
    assert ApiKey.objects.count() == 1
    assert len(vendor.ledger(route="usage")) == before
    shown = [repr(fates), "".join(fate.text for fate in fates)]
    assert leakscan.hits(stack, made, shown) == []


def test_for_real_each_row_stands_for_itself_and_again_records_what_was_missing(
    stack: Any, vendor: Any, place: Any, people: Any, made: list[str]
) -> None:
    vendor.delete_key_by_secret(made[1])
    text = f"{HEADER}\ngood,,,,{made[0]}\nrefused,,,,{made[1]}\nlater,,,,\n"
    fates = bulk_import.run(people.operator, text, defaults(place), RECORD).rows
    assert states(fates) == ["new", "bad", "without"]
    assert "refuses this key" in fates[1].text
    assert secret_of(ApiKey.objects.get(name="good").current) == made[0]
    mended = text.replace(made[1], made[2])
    again = bulk_import.run(people.operator, mended, defaults(place), RECORD).rows
    assert states(again) == ["known", "new", "known"]
    assert ApiKey.objects.count() == 3
    assert AuditEvent.objects.filter(action="key.registered").count() == 3
    assert leakscan.hits(stack, made, [repr(fates), repr(again)]) == []


def test_a_key_without_a_secret_gets_one_by_a_rotation(
    vendor: Any, place: Any, people: Any
) -> None:
    bulk_import.run(people.operator, "name\nlater\n", defaults(place), RECORD)
    key = ApiKey.objects.get(name="later")
    page = sign_in(Client(), people.owner).get(f"/keys/{key.pk}/")
    assert page.status_code == 200
    drive(lifecycle.start(people.operator, key, Reason.MANUAL, overlap_seconds=0)[0])
    assert Rotation.objects.get().step == "done"
    key.refresh_from_db()
    assert key.current is not None


def test_rights_count_as_for_one_key(place: Any, people: Any, made: list[str]) -> None:
    text = f"{HEADER}\ngood,,,,{made[0]}\n"
    for who in (people.viewer, people.developer):
        fates = bulk_import.run(who, text, defaults(place), RECORD).rows
        assert "does not let you" in fates[0].text
    assert not ApiKey.objects.exists()
    named = bulk_import.run(people.outsider, "name,account\nx,Sandbox\n", Defaults()).rows
    assert "no such account" in named[0].text, "what one may not see does not exist"


def test_a_thousand_rows_are_looked_at_in_few_statements_each(place: Any, people: Any) -> None:
    rows = [f"key {number},,,," for number in range(1000)]
    rows[7::150] = ["bad\u202ename,,,," for _ in rows[7::150]]
    fates = bulk_import.run(people.owner, "\n".join([HEADER, *rows]), defaults(place)).rows
    assert states(fates).count("bad") == 7
    assert [fate.line for fate in fates if fate.state == "bad"][:2] == [9, 159]
    with counting() as statements:
        bulk_import.run(people.owner, "\n".join([HEADER, *rows[:50]]), defaults(place))
    assert len(statements) <= 6 * 50
    with pytest.raises(BadInput, match="more than 2000 rows"):
        bulk_import.run(people.owner, "name\n" + "x\n" * 2001, defaults(place))


def test_the_page_shows_fates_and_never_sends_the_text_back(
    vendor: Any, place: Any, people: Any, made: list[str]
) -> None:
    client = sign_in(Client(), people.operator)
    form = {
        "text": f"FIRST={made[0]}\nEMPTY=\n",
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
    }
    page = client.post("/keys/import/", {**form, "look": "1"})
    assert "1 of 2 rows are good" in text(page)
    assert made[0] not in text(page)
    assert "no-store" in page["Cache-Control"]
    part = client.post("/keys/import/", {**form, "record": "1"}, headers={"HX-Request": "true"})
    assert "1 of 2 rows are recorded" in text(part)
    assert "<html" not in text(part)
    assert ApiKey.objects.get().name == "FIRST"
    many = "".join(f"K{number}=inf_some_value_{number:05}\n" for number in range(201))
    refused = client.post("/keys/import/", {**form, "text": many, "record": "1"})
    assert "A page takes 200" in text(refused)
    assert client.post("/keys/import/", {**form, "text": ""}).status_code == 400


def test_the_command_says_first_and_does_it_with_yes(
    stack: Any, place: Any, people: Any, made: list[str]
) -> None:
    options = [
        *("--account", "Sandbox", "--environment", "Development", "--application", "Billing"),
        *("--by", "owner@example.com"),
    ]
    text = f"FIRST={made[0]}\nEMPTY=\n"
    looked = manage(stack, "importkeys", *options, stdin=text)
    assert "Nothing was stored" in looked.out
    assert not ApiKey.objects.exists()
    ran = manage(stack, "importkeys", *options, "--yes", "--json", stdin=text)
    assert ran.code != 0
    assert ApiKey.objects.get().name == "FIRST"
    assert made[0] not in ran.out + ran.err
