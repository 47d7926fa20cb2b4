"""B103-B110, P2, P10: real kinds of files are named and neither repeated, stored nor sent, by any door."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput
from keyvault.inventory import (
    bulk_import,
    file_kinds,
    import_formats,
    keys,
    secret_input,
    secret_patterns,
)
from keyvault.inventory.bulk_import import RECORD, Defaults
from keyvault.inventory.keys import NewKey
from keyvault.models import ApiKey
from tests import leakscan
from tests.api_client import sign_in
from tests.commands import call
from tests.keyvault.export_samples import BASE64, SAMPLES, SECRETS_IN_THEM, Sample, made
from tests.keyvault.helpers import windows

RUN = 12


def repeated(sample: Sample, said: str, always: str = "") -> set[str]:
    """Return the runs of 12 characters that stand both in a file and in what was said about it.

    Names of variables may be said, and what is `always` said, whatever was given.
    """
    written = sample.data.decode("utf-8", "replace")
    good = {run for name in sample.names for run in windows(name, RUN)} | windows(always, RUN)
    return (windows(written, RUN) & windows(said, RUN)) - good


def kind_of(data: bytes) -> str:
    """Return the kind by which a file is refused; an empty text where its rows are read."""
    try:
        import_formats.read(import_formats.decode(data))
    except BadInput as error:
        return str(error.details.get("kind", error.code))
    return ""


@pytest.mark.pure
def test_there_are_samples_of_every_kind() -> None:
    assert len(SAMPLES) >= 60
    assert len({sample.kind for sample in SAMPLES.values()}) >= 40


@pytest.mark.pure
@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_is_named_with_what_to_do(name: str) -> None:
    """5c: one sentence for the whole file, instead of one for each of its lines."""
    sample = SAMPLES[name]
    assert kind_of(sample.data) == sample.kind
    if sample.kind:
        with pytest.raises(BadInput, match=r"^This is .+\. Nothing was stored\. .+") as caught:
            import_formats.read(import_formats.decode(sample.data))
        assert repeated(sample, caught.value.message) == set()


@pytest.mark.pure
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n\n"])
def test_a_kind_is_the_same_with_other_line_ends_and_a_mark(name: str, ending: str) -> None:
    """B103: a byte order mark, CRLF and empty lines hide nothing."""
    sample = SAMPLES[name]
    if not sample.data[:1].isascii() or b"\0" in sample.data:
        return
    text = sample.data.decode("utf-8-sig").replace("\r\n", "\n")
    whole = ("\n" if ending == "\n\n\n" else "") + text.replace("\n", ending[:2].strip("\n") + "\n")
    assert kind_of(b"\xef\xbb\xbf" + whole.encode()) == sample.kind


@pytest.mark.pure
@pytest.mark.parametrize("name", SAMPLES)
def test_no_row_is_named_by_what_may_be_a_secret(name: str) -> None:
    """5a: a line without = was the name of a row."""
    sample = SAMPLES[name]
    if sample.kind:
        return
    rows = import_formats.read(import_formats.decode(sample.data))
    shown = {row.values.get("name", "") for row in rows if row.problem}
    assert shown <= {"", *sample.names}


@pytest.mark.pure
@pytest.mark.parametrize("end", ["", "=", "==", "===", " =", "= ", "= # x", "=  #x", "=\t"])
def test_a_bare_key_has_no_name_whatever_it_ends_in(end: str) -> None:
    """P2: the padding of base64 is no value, and what stands before it no name."""
    for row in import_formats.read(f"YWJjZGVmZ2hpamtsbQ{end}\nOTHER=inf_something\n")[:1]:
        assert row.problem
        assert row.values == {}


@pytest.fixture
def answers(place: Any, people: Any) -> Any:
    """Return a function that gives a file to every door, and returns all that they said."""
    client = sign_in(Client(), people.owner)
    always = client.get("/keys/import/").content.decode()
    form = {
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
    }
    options = [
        *("--account", "Sandbox", "--environment", "Development", "--application", "Billing"),
        *("--by", "owner@example.com"),
    ]

    def ask(sample: Sample) -> list[str]:
        said, data = [], sample.data
        for more in ([], ["--json"], ["--yes"], ["--yes", "--json"]):
            ran = call("importkeys", *options, *more, stdin=data)
            assert ran.code != 0
            said += [ran.out, ran.err]
        text = data.decode("utf-8", "replace").replace("\0", "")
        for button in ("look", "record"):
            page = client.post("/keys/import/", {**form, "text": text, button: "1"})
            said.append(page.content.decode())
        if "\n" not in text.strip() and not sample.kind:
            return said  # one word, which a person gave for one key
        api = client.post(
            "/api/v1/keys/",
            {**form, "name": "pasted", "secret": text},
            content_type="application/json",
        )
        assert api.status_code == 400
        return [*said, api.content.decode()]

    def checked(sample: Sample) -> list[str]:
        said = ask(sample)
        for one in said:
            assert repeated(sample, one, always) == set()
        return said

    return checked


def test_no_door_repeats_stores_or_sends_what_is_not_a_key_of_the_vendor(
    stack: Any, vendor: Any, place: Any, people: Any, answers: Any
) -> None:
    """P2, 5a, 5b: command, JSON, page and API; then the log, the stores and the vendor are searched."""
    before = len(vendor.ledger(route="usage"))
    pages = []
    for name, sample in SAMPLES.items():
        said = answers(sample)
        if sample.kind:
            assert all("This is " in one for one in said[1:8:2]), name
        pages += said
    assert len(vendor.ledger(route="usage")) == before, "nothing went to the vendor"
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.filter(action="key.registered").exists()
    assert leakscan.hits(stack, SECRETS_IN_THEM, pages) == []


@pytest.mark.pure
@pytest.mark.parametrize("name", SAMPLES)
def test_a_whole_file_in_the_place_of_a_key_is_refused_and_not_repeated(name: str) -> None:
    """5d: by the paste field, and by all that cleans what was pasted."""
    sample = SAMPLES[name]
    if not sample.kind:
        return
    text = sample.data.decode("utf-8", "replace")
    with pytest.raises(BadInput) as caught:
        secret_input.clean(text)
    assert repeated(sample, f"{caught.value.message} {caught.value.details}") == set()


LINES = st.sampled_from(
    r"""{}|{}=|{}==|{}= # x| {}|{};x|x;{}|x,{}|"{}"|- {}|a: {}|a:{}|{}: a|{} {}|'{}'|name,{}|{},name
{{{}}}|[{}]|"A={}",|#{}|export {}|{}\|{"a":"{}"}|{}:{}|/{}/|$env:{}=1|A={} # {}|={}""".replace(
        "\n", "|"
    ).split("|")
)
SECRETS = st.builds(
    lambda before, seed, length: made(str(seed), length, BASE64, before),
    st.sampled_from(["", "sk_live_", "ghp_", "AKIA", "inf_", "key-"]),
    st.integers(0, 10**9),
    st.integers(24, 60),
)


@given(st.lists(st.tuples(LINES, SECRETS), min_size=1, max_size=6))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_line_makes_a_secret_a_name(pairs: list[tuple[str, str]]) -> None:
    """P2: whatever stands around a secret, no run of 12 of its characters is said."""
    text = "\n".join(line.replace("{}", secret) for line, secret in pairs)
    said = _everything_said(text)
    for _line, secret in pairs:
        assert not windows(secret, RUN) & windows(said, RUN)


def _everything_said(text: str) -> str:
    try:
        rows = import_formats.read(text)
    except BadInput as error:
        return f"{error.message} {error.details}"
    names = {row.values.get("name", "") for row in rows}
    odd = set(filter(secret_patterns.looks_secret, names))
    return " ".join(f"{row.problem} {row.note}" for row in rows) + " ".join(names - odd)


def test_what_fits_is_sent_and_what_does_not_is_left_out(
    vendor: Any, place: Any, people: Any
) -> None:
    """5b: the vendor's ledger shows the keys that fit, and nothing else."""
    key, other = (vendor.create_key(place.vendor_api["id"])["key"] for _ in range(2))
    sample = SAMPLES["vercel-env"].data.decode()
    text = f"{sample}INFLUTICS={key}\nNOT_NAMED={other}\n"
    where = Defaults(place.api_account, place.environment, place.application)
    before = len(vendor.ledger(route="usage"))
    fates = bulk_import.run(people.owner, text, where, RECORD).rows
    assert {fate.name for fate in fates if fate.state == "new"} == {"INFLUTICS", "NOT_NAMED"}
    assert {fate.name for fate in fates if fate.setting} == {
        *("NX_DAEMON", "VERCEL", "VERCEL_ENV", "VERCEL_OIDC_TOKEN", "DATABASE_URL")
    }
    (stripe,) = [fate for fate in fates if fate.name == "STRIPE_KEY"]
    assert stripe.state == "left"
    assert "Stripe" in stripe.text
    assert stripe.tick
    seen = vendor.ledger(route="usage")[before:]
    assert len(seen) == 2


@pytest.mark.parametrize("field", ["name", "vendor_id", "purpose"])
def test_a_key_is_not_recorded_under_its_own_secret(
    vendor: Any, place: Any, people: Any, field: str
) -> None:
    key = vendor.create_key(place.vendor_api["id"])["key"]
    new = NewKey(place.api_account, place.environment, "fine", place.application)
    setattr(new, field, f"x {key} y")
    with pytest.raises(BadInput, match="name") as caught:
        keys.register_key(people.owner, new, key)
    assert caught.value.code == "name_is_secret"
    assert not windows(key, RUN) & windows(caught.value.message, RUN)
    assert not ApiKey.objects.exists()


@pytest.mark.pure
def test_large_and_hostile_texts_are_read_in_bounded_time() -> None:
    """B107: neither depth, length nor many lines hold a page up."""
    hostile = [
        "[" * 100_000,
        '{"a":' * 50_000,
        "\n" * 200_000 + "x",
        "#\n" * 100_000,
        "A='" * 60_000,
        "A=1\n" * 50_000,
        '"' * 200_000,
        "a:" * 100_000,
        "${" * 100_000,
        "=" * 200_000,
        ("A=" + "x" * 100 + "\n") * 2000,
        "- " * 100_000,
        "name,secret\n" + '"' * 100_000,
        "-" * 200_000,
        " " * 200_000 + "x",
    ]
    for text in hostile:
        file_kinds.known_as(text)
        try:
            rows = import_formats.read(text, 2000)
        except BadInput:
            continue
        assert len(rows) <= 2001
