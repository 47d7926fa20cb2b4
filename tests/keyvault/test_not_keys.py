"""5d, P10: references, ciphertexts, placeholders and masks are refused by name; doubts are asked about."""

from contextlib import suppress
from typing import Any

import pytest
from django.test import Client

from keyvault.core.errors import BadInput
from keyvault.inventory import (
    bulk_import,
    import_formats,
    keys,
    placeholders,
    secret_input,
    secret_patterns,
)
from keyvault.inventory.bulk_import import RECORD, Defaults, Way
from keyvault.inventory.keys import NewKey
from keyvault.inventory.placeholders import Question
from keyvault.inventory.vendor_match import doubt, foreign, signs_of
from keyvault.models import ApiKey, KeyVersion, VersionState
from rotation.models import HumanTask
from tests.api_client import sign_in
from tests.commands import call
from tests.factories import make_key, secret_of
from tests.keyvault.export_samples import made
from tests.keyvault.helpers import windows
from tests.rotation.driving import drive, started

REFERENCES = [
    *("op://prod/stripe/key", "ref+vault://secret/x#key", "${STRIPE_KEY}", "$STRIPE_KEY"),
    *("{{resolve:secretsmanager:shop}}", "arn:aws:secretsmanager:eu-west-1:1:secret:shop"),
    *("projects/1/secrets/shop/versions/latest", "@Microsoft.KeyVault(SecretUri=https://x)"),
    *("arn:aws-us-gov:ssm:us-gov-west-1:1:parameter/x", "${{ secrets.STRIPE_KEY }}", "${X:-y}1234"),
    *("{{ .Values.stripe }}", "vault:secret/data/shop#key", "awssm://shop/stripe", "%STRIPE_KEY%"),
    *("((stripe-key))", "#{StripeKey}#", "$(cat /run/secrets/x)", "process.env.STRIPE_KEY"),
    *("os.environ['STRIPE_KEY']", "!vault |", "/run/secrets/stripe", "<%= ENV['KEY'] %>"),
]
CIPHERTEXTS = [
    *("ENC[AES256_GCM,data:abc,iv:def,tag:ghi,type:str]", "$ANSIBLE_VAULT;1.1;AES256"),
    *("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==", "vault:v12:abcd"),
    *("-----BEGIN AGE ENCRYPTED FILE-----", "encrypted:BJizTu9yzKrGFvZcm4", "ENC(abcdefgh)"),
    *("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "{cipher}abcdef0123"),
    *("AQICAHhx2+abcdefg", "AQECAHhx2abcdefg", "U2FsdGVkX1+abcdefgh", "ENC[PKCS7,MIIBeQYJ]"),
    *("$2a$10$N9qo8uLOickgx2ZMRZoMye", "$argon2id$v=19$m=65536", "pbkdf2_sha256$600000$abc"),
]
PLACEHOLDERS = [
    *(
        "changeme",
        "CHANGE_ME",
        "change-me-please",
        "your-api-key-here",
        "YOUR_API_KEY",
        "<your-key>",
    ),
    *("your_api_key_here", "<API_KEY>", "insert-key-here", "replace_me", "REPLACE_WITH_YOUR_KEY"),
    *("sk_live_your_key_here", "placeholder", "api-key-goes-here", "__API_KEY__", "my-secret-key"),
    *(
        "TODO-set-me",
        "undefined",
        "test-api-key",
        "AKIAIOSFODNN7EXAMPLE",
        "12345678",
        "password123",
    ),
]
MASKS = [
    *(
        "inf_••••••••abcd",
        "***hidden***",
        "inf_****abcd",
        "inf_…abcd",
        "xxxxxxxxxxxx",
        "<redacted>",
    ),
    *("[FILTERED]", "(sensitive value)", "sk_live_########", "●●●●●●●●", "{hidden}"),
]
QUESTIONS = [
    *(
        "abcd&amp;efgh1234",
        "abcd&lt;efgh1234",
        "abcd&#39;efgh1234",
        "abcd&quot;efgh",
        "abc&#x26;defg",
    ),
    *("abcdefgh1234\\n", "abc\\ndef12345", "abcd\\u0026efgh", "abcd%2Befgh%3D1", "$someKey1234"),
    *("https://hooks.example/services/abc", "postgres://shop:secret@db/shop"),
]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "code"),
    [(one, "reference") for one in REFERENCES]
    + [(one, "ciphertext") for one in CIPHERTEXTS]
    + [(one, "placeholder") for one in PLACEHOLDERS]
    + [(one, "masked") for one in MASKS],
)
@pytest.mark.parametrize("around", ["{}", "  {}\n", "STRIPE_KEY={}", 'STRIPE_KEY="{}"'])
def test_what_is_no_key_is_named_and_never_taken(text: str, code: str, around: str) -> None:
    """5d: not even on a person's word."""
    for as_it_is in (False, True):
        with pytest.raises(BadInput) as caught:
            secret_input.clean(around.replace("{}", text), as_it_is=as_it_is)
        assert caught.value.code in (code, "masked", "placeholder", "not_a_key")
        assert not isinstance(caught.value, Question)
        assert not windows(text, 12) & windows(caught.value.message, 12)


@pytest.mark.pure
@pytest.mark.parametrize("text", QUESTIONS)
def test_what_is_seldom_so_is_asked_about_and_taken_on_a_persons_word(text: str) -> None:
    """B109: LastPass writes & as &amp;, and a copy from a file has a backslash and an n."""
    with pytest.raises(Question) as caught:
        secret_input.clean(text)
    assert "as_it_is" in caught.value.message
    assert not windows(text, 8) & windows(caught.value.message, 8)
    assert secret_input.clean(text, as_it_is=True).secret.reveal() == text


@pytest.mark.pure
@pytest.mark.parametrize(
    "key",
    [
        *("$ecret!%&()[]{}<>|;:,?#@^~", "plainhex0123456789abcdef", "a&b;c&d12345", "100%pure-2x"),
        *("token_abcdefgh", "change-of-mind-4711", "yourself-77x1", "example-of-9f8e7d6c5b4a"),
        *("sk-or-no-sk-1234567", "vault-of-keys-9f8e7d", "arn-is-a-bird-1234", "age1-is-short"),
        *(
            "keys/with/slashes/1234",
            "a:b:c:d:1234",
            "operator://x"[:8] + "1234",
            "secretly-9f8e7d6c",
        ),
    ],
)
def test_a_key_that_only_resembles_one_of_them_is_taken(key: str) -> None:
    assert secret_input.clean(key).secret.reveal() == key


@pytest.mark.pure
@pytest.mark.parametrize("text", ["${" * 2000, "your" * 1000, "1234567890" * 400, "{{" * 2000])
def test_hostile_texts_are_looked_through_at_once(text: str) -> None:
    """The patterns cannot be made to run away."""
    for one in (text, text + "!", text + "\x7f"):
        with suppress(BadInput):
            placeholders.refuse(one)
        with suppress(BadInput):
            secret_input.clean(one)


NAMES = [
    *("Video upload", "STRIPE_KEY", "STRIPE_KEY_production_2", "Billing export (EU) 2026-11-27"),
    *("influtics-production-eu-west-1-2026", "VideoUploadProductionKey2", "key 17", "import 993"),
    *("ip-10-0-12-34.eu-west-1.compute.internal", "billing-7d9f8b6c5d-x2x9z", "A" * 60, "a" * 100),
    *("Clé de l'API · Vidéo", "shop/billing/STRIPE_KEY", "Zugang für Berichte", "pk", "v1.2.3"),
]


@pytest.mark.pure
@pytest.mark.parametrize("name", NAMES)
def test_a_name_as_people_give_them_is_none(name: str) -> None:
    assert not secret_patterns.looks_secret(name)


@pytest.mark.pure
@pytest.mark.parametrize(
    "before",
    ["", "sk_live_", "ghp_", "AKIA", "xoxb-", "inf_", "mgmt_", "hvs.", "kvt_", "glpat-", "npm_"],
)
@pytest.mark.parametrize("around", ["{}", "key {}", "{} (old)", "Stripe: {}", "STRIPE={}"])
def test_a_secret_in_a_name_is_seen(before: str, around: str) -> None:
    """5a: whatever stands around it."""
    for seed in range(20):
        assert secret_patterns.looks_secret(
            around.replace("{}", made(f"x{seed}", 40, before=before))
        )


@pytest.mark.pure
@pytest.mark.parametrize(
    "text",
    [
        *("3b241101-e2bb-4255-8caf-4136c566a962", "d41d8cd98f00b204e9800998ecf8427e"),
        *("YWJjZGVmZ2hpamtsbQ==", "a1b2c3d4e5f6a7b8c9d0e1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIifQ.abc"),
        *("AKIAQWERTYUIOPASDFGH", "aB3dE5gH7jK9mN1p"),
    ],
)
def test_other_forms_of_secrets_are_seen_too(text: str) -> None:
    assert secret_patterns.looks_secret(text)


def test_a_secret_on_record_is_never_a_name(vendor: Any, place: Any, people: Any) -> None:
    """Swapped columns: the exact secret is known, however plain it looks, and also to a command."""
    key = make_key(vendor, place, people.owner, name="known")
    plain = "correcthorsebattery"
    from keyvault.core.hashing import fingerprint_of_bytes

    KeyVersion.objects.filter(key=key).update(fingerprint=fingerprint_of_bytes(plain.encode()))
    new = NewKey(place.api_account, place.environment, f"x '{plain}'", place.application)
    new.name_is_right = True
    with pytest.raises(BadInput) as caught:
        keys.require_recordable(people.owner, new)
    assert caught.value.code == "name_is_secret"
    assert plain not in caught.value.message
    where = Defaults(place.api_account, place.environment, place.application)
    fates = bulk_import.run(
        people.owner, f"name\n{plain}\nfine\n", where, Way(names_are_right=True)
    ).rows
    assert [(fate.state, fate.name) for fate in fates] == [("bad", ""), ("without", "fine")]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/v1/applications/", {}),
        ("/api/v1/environments/", {}),
        ("/api/v1/tokens/", {"application": 0, "environment": 0}),
        ("/api/v1/consumers/", {"application": 0, "environment": 0}),
        ("/api/v1/accounts/", {"provider": "influtics", "base_url": "https://api.example"}),
        ("/api/v1/keys/", {"account": 0, "environment": 0, "application": 0, "secret": "x"}),
    ],
)
def test_no_door_takes_a_secret_for_a_name(
    vendor: Any, place: Any, people: Any, path: str, more: dict[str, Any]
) -> None:
    """5a: names stand in lists, mails, exports and for ever in the audit log."""
    ids = {
        "account": place.api_account.pk,
        "application": place.application.pk,
        "environment": place.environment.pk,
    }
    said = {name: ids[name] if value == 0 else value for name, value in more.items()}
    name = made("name", 40, before="ghp_")
    client = sign_in(Client(), people.owner)
    answer = client.post(path, {**said, "name": name}, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] == "name_is_secret"
    assert name[4:20] not in answer.content.decode()


def test_a_key_is_not_renamed_to_a_secret(vendor: Any, place: Any, people: Any) -> None:
    key = make_key(vendor, place, people.owner, name="fine")
    for name in (secret_of(key.current), made("new", 40, before="sk_live_")):
        with pytest.raises(BadInput):
            keys.change_key(people.owner, key, name=name, purpose="")
    assert ApiKey.objects.get().name == "fine"


@pytest.mark.parametrize(
    "secret",
    [
        made("stripe", 32, before="sk_live_"),
        made("aws", 16, "ABCDEFGH", "AKIA"),
        "postgres://shop:secretsecret@db.internal/shop",
        ".".join([made("a", 30, before="eyJ"), made("b", 40), made("c", 43)]),
    ],
)
def test_one_pasted_key_of_somebody_else_is_not_sent_without_a_word(
    vendor: Any, place: Any, people: Any, secret: str
) -> None:
    """5b: by the API, the form, a standby and a paste for a rotation alike."""
    key = make_key(vendor, place, people.owner, manual=True)
    rotation = drive(started(people.operator, key))
    task = HumanTask.objects.get(rotation=rotation, closed_at=None)
    client = sign_in(Client(), people.owner)
    before = len(vendor.ledger(route="usage"))
    fields = {
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
        "name": "other",
        "secret": secret,
    }
    account = {"name": "x", "provider": "sandbox", "base_url": vendor.url}
    doors = [
        ("/api/v1/keys/", fields),
        (f"/api/v1/keys/{key.pk}/versions/", {"secret": secret}),
        (f"/api/v1/tasks/{task.pk}/complete", {"secret": secret}),
        ("/api/v1/accounts/", {**account, "management_credential": secret}),
    ]
    for path, said in doors:
        answer = client.post(path, said, content_type="application/json")
        assert answer.status_code == 400
        assert answer.json()["code"] in ("not_this_vendors", "is_it_so")
    pages = [
        client.post("/keys/new/", fields),
        client.post(f"/keys/{key.pk}/standby", {"standby-secret": secret}),
        client.post(f"/tasks/{task.pk}/paste", {"secret": secret}),
        client.post("/accounts/", {**account, "management_credential": secret}),
    ]
    for page in pages:
        assert page.status_code == 400
        assert "It is really so" in page.content.decode()
        assert 'type="checkbox" name="' in page.content.decode()
        assert secret[8:20] not in page.content.decode()
    assert len(vendor.ledger(route="usage")) == before
    sent = {**fields, "as_it_is": True}
    told = client.post("/api/v1/keys/", sent, content_type="application/json")
    assert told.json()["code"] == "refused_by_vendor"
    assert len(vendor.ledger(route="usage")) > before
    assert not KeyVersion.objects.filter(state=VersionState.PENDING).exists()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INFLUTICS_API_KEY", made("odd", 30), ""),
        ("PROD_INFLUTICS_TOKEN", made("odd", 30), ""),
        ("ANYTHING", made("x", 30, before="inf_"), ""),
        ("Influtics video upload", made("odd", 30), ""),
        ("INFLUTICS_WEBHOOK_SECRET", made("odd", 30), "Neither"),
        ("INFLUTICS_BASE_URL", "https://api.influtics.com", "address"),
        ("INFLUTICS_ACCOUNT_ID", made("odd", 30), "setting"),
        ("INFLUTICS_API_KEY", made("s", 32, before="sk_live_"), "Stripe"),
        ("INFLUTICS_API_KEY", "true", "setting"),
        ("STRIPE_KEY", made("odd", 30), "Neither"),
        ("DOPPLER_TOKEN", made("x", 30, before="inf_"), "tool"),
        ("NX_CLOUD_ACCESS_TOKEN", made("odd", 30), "tool"),
        ("sops_version", "3.11.0", "tool"),
        ("DOTENV_PUBLIC_KEY", made("odd", 66, "0123456789abcdef"), "tool"),
        ("VERCEL", "1", "tool"),
        ("DATABASE_URL", "postgres://a:${PASSWORD}@db/shop", "address"),
        ("AZURE_STORAGE", "DefaultEndpointsProtocol=https;AccountName=x", "address"),
        ("GOOGLE", '{"type": "service_account"}', "document"),
        ("ADMIN_EMAIL", "me@example.com", "setting"),
        ("PORT", "8080", "setting"),
    ],
)
def test_what_fits_a_vendor_is_told_by_form_and_name(name: str, value: str, said: str) -> None:
    """5b: a row that does not fit is unticked, with the reason."""
    from keyvault.models import VendorAccount

    signs = signs_of(VendorAccount(name="x", provider="influtics"))
    found = doubt(signs, name, value)
    assert (found is not None) == bool(said)
    if found:
        assert said in found.text
        assert not windows(value, 8) & windows(found.text, 8)
    assert foreign(signs, made("x", 30, before="inf_")) is None


def test_a_row_is_sent_when_it_is_ticked_and_only_as_it_was_shown(
    vendor: Any, place: Any, people: Any
) -> None:
    """5b: a tick stands for this row, with this content, at this account."""
    secret = made("ticked", 30)
    where = Defaults(place.api_account, place.environment, place.application)
    (shown,) = bulk_import.run(people.owner, f"OTHER={secret}\n", where).rows
    assert (shown.state, shown.ticked) == ("left", False)
    ticked = Way(really=True, ticked=lambda _line, _name, tick: tick == shown.tick)
    before = len(vendor.ledger(route="usage"))
    elsewhere = Defaults(place.manual_account, place.environment, place.application)
    for text, at in (
        (f"OTHER={secret[:-1]}x\n", where),
        (f"ANOTHER={secret}\n", where),
        (f"\nOTHER={secret}\n", where),
        (f"OTHER={secret}\n", elsewhere),
    ):
        assert bulk_import.run(people.owner, text, at, ticked).rows[0].state == "left"
    assert len(vendor.ledger(route="usage")) == before
    (fate,) = bulk_import.run(people.owner, f"OTHER={secret}\n", where, ticked).rows
    assert "refuses this key" in fate.text
    assert len(vendor.ledger(route="usage")) == before + 1


def test_the_command_sends_rows_by_name_or_line_and_its_exit_code_tells(
    vendor: Any, place: Any, people: Any
) -> None:
    """U18, 5b: what was not recorded is not a success; configuration alone is no failure."""
    options = [
        *("--account", "Sandbox", "--environment", "Development", "--application", "Billing"),
        *("--by", "owner@example.com"),
    ]
    key = vendor.create_key(place.vendor_api["id"])["key"]

    def ran(text: str, *more: str) -> Any:
        return call("importkeys", *options, *more, stdin=text.encode())

    assert ran("NOTHING=\n").code == 1
    assert ran("DATABASE_URL=postgres://a:bcdefgh@db/x\n").code == 1
    text = f"INFLUTICS={key}\nVERCEL_ENV=production\n"
    looked = ran(text)
    assert looked.code == 0, looked.err
    assert "--send" in looked.out
    left = ran(f"{text}SHOP_KEY={made('shop', 30)}\n", "--json")
    assert left.code == 1
    assert [row["state"] for row in left.json["rows"]] == ["new", "left", "left"]
    assert ran(text, "--yes").code == 0
    before = len(vendor.ledger(route="usage"))
    sent = ran(f"SHOP_KEY={made('shop', 30)}\n", "--yes", "--send", "shop_key")
    assert "refuses this key" in sent.out
    assert ran(f"#\nSHOP_KEY={made('shop', 30)}\n", "--yes", "--send", "2").code == 1
    assert len(vendor.ledger(route="usage")) == before + 2
    assert ran(f"SHOP_KEY={made('shop', 30)}\n", "--send", "nowhere").code == 2


def test_a_name_that_looks_odd_is_taken_by_a_command_that_says_so(
    vendor: Any, place: Any, people: Any
) -> None:
    name = "3b241101-e2bb-4255-8caf-4136c566a962"
    options = [
        *("--account", "Sandbox", "--environment", "Development", "--application", "Billing"),
        *("--by", "owner@example.com", "--yes"),
    ]
    for more, state, shown in ([], "bad", ""), (["--names-are-right"], "without", name):
        ran = call("importkeys", *options, "--json", *more, stdin=f"name\n{name}\n".encode())
        (row,) = ran.json["rows"]
        assert (row["state"], row["name"]) == (state, shown)
    assert ApiKey.objects.get().name == name


@pytest.mark.pure
@pytest.mark.parametrize("name", ["correcthorsebattery", "hunter-two-hunter-two", "aB3xY7qq"])
def test_swapped_columns_are_named_and_not_shown(name: str) -> None:
    """5a: what should be the key reads like a variable; the other cell is not shown then."""
    (row,) = import_formats.read(f"name,secret\n{name},BILLING_API_KEY\n")
    assert "swapped" in row.problem
    assert row.values == {}
    (right,) = import_formats.read(f"name,secret\nBILLING_API_KEY,{name}\n")
    assert not right.problem


def test_a_comment_that_was_cut_off_is_said(place: Any, people: Any) -> None:
    """5d, B106: sops writes values without quotes, so that “ #” belongs to them."""
    where = Defaults(place.api_account, place.environment, place.application)
    key = made("cut", 30, before="inf_")
    text = f"A={key} # more\nB='{key}1' # a comment\nC=\"{key}2\"\n"
    notes = [fate.text for fate in bulk_import.run(people.owner, text, where).rows]
    assert ["left off as a comment" in note for note in notes] == [True, False, False]


def test_doubles_are_found_in_the_whole_text_whatever_part_is_recorded(
    vendor: Any, place: Any, people: Any
) -> None:
    """B110, 5e: lines 3 and 140 of one name, of which the first was stored by the page."""
    lines = [f"KEY_{number}=" for number in range(150)]
    for at in (2, 139):
        lines[at] = f"SAME_KEY={made(str(at), 30, before='inf_')}"
    where = Defaults(place.api_account, place.environment, place.application)
    text = "\n".join(lines)
    whole = bulk_import.run(people.owner, text, where).rows
    assert whole[2].text == "Its name stands in line 140 too."
    assert whole[139].text == "Its name stands in line 3 too."
    client = sign_in(Client(), people.owner)
    before = len(vendor.ledger(route="usage"))
    form = {
        "text": text,
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
        "record": "1",
    }
    for start, line, other in ((0, 3, 140), (100, 140, 3)):
        page = client.post("/keys/import/", {**form, "start": start}, headers={"HX-Request": "1"})
        said = page.content.decode()
        assert f"Its name stands in line {other} too." in said
        assert 'data-rows="150"' in said
        assert said.count("<tr><td") == (100 if start == 0 else 50), line
    assert len(vendor.ledger(route="usage")) == before
    assert RECORD.really
    assert not ApiKey.objects.exists()
