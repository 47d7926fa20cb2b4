"""The commands of the inventory: what they print, how they end, and what they never say."""

import base64
import importlib
import pkgutil
import re
from datetime import timedelta

import pytest
from django.core.management import get_commands, load_command_class
from django.db import connections
from django.utils import timezone

from keyvault.audit import checkpoints
from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent
from keyvault.delivery import tokens
from keyvault.models import ApiKey, Grant, Member, Role
from tests.commands import ROOT, Ran, call, manage
from tests.factories import grant, make_key, make_member, secret_of

OURS = sorted(
    module.name
    for module in pkgutil.iter_modules(
        importlib.import_module("keyvault.management.commands").__path__
    )
)
DOWN = "http://127.0.0.1:1"


@pytest.fixture
def at_vendor(vendor, place):
    """Return a key that was made at the vendor by hand, secret included."""
    return vendor.create_key(place.vendor_api["id"], label="made by hand")


@pytest.fixture
def key(vendor, place, people) -> ApiKey:
    return make_key(vendor, place, people.owner, name="invoices")


def register(stack, secret: str | bytes, *more: str, **settings: str) -> Ran:
    arguments = ["--account", "sandbox", "--environment", "development", "--name", "reports"]
    owner = [] if "--member" in more else ["--application", "billing"]
    return manage(stack, "registerkey", *arguments, *owner, *more, stdin=secret, **settings)


def vendor_says(vendor, answer: str) -> None:
    refusal = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    fault = {"refused": (401, refusal), "cannot_tell": (503, "busy")}[answer]
    vendor.fault("usage", kind="status", status=fault[0], body=fault[1], times=None)


# --- every command ---


@pytest.mark.pure
def test_every_command_has_a_test_that_runs_it():
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    ran = set(re.findall(r'(?:call|manage)\(\s*(?:stack,\s*)?"([a-z]+)"', tests))
    assert set(OURS) - ran == set()
    assert {"createowner", "rotatekey"} <= set(OURS)


@pytest.mark.pure
@pytest.mark.parametrize("name", OURS)
def test_no_command_takes_a_secret_as_an_argument(name):
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    words = [word for action in parser._actions for word in (*action.option_strings, action.dest)]
    secret = re.compile(r"secret|password|token|credential|stdin", re.IGNORECASE)
    assert [word for word in words if secret.search(word)] == []


@pytest.mark.pure
@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_every_command_can_answer_in_json(name):
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    assert "--json" in parser._option_string_actions


def test_an_option_that_is_cut_short_is_refused(stack):
    assert manage(stack, "listkeys", "--acc", "Sandbox").code == 2


def test_it_says_in_one_sentence_that_the_database_is_away(stack):
    ran = manage(stack, "listkeys", "--json", DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert ran.code == 5
    assert ran.err.startswith("Error: The database does not answer")
    assert "Traceback" not in ran.err
    assert ran.json["code"] == "database_away"


# --- migrate ---


def test_migrate_works_as_the_owner_of_the_tables_when_there_is_one(stack):
    parser = load_command_class("keyvault", "migrate").create_parser("manage.py", "migrate")
    assert parser.parse_args([]).database == "owner"
    ran = manage(stack, "migrate", "--plan", kind="owner")
    assert (ran.code, "No planned migration" in ran.out) == (0, True)


def test_migrate_uses_the_only_database_role_when_there_is_no_owner(stack):
    assert manage(stack, "migrate", "--plan", kind="web").code == 0


# --- createowner ---


def test_the_first_owner_gets_a_password_that_is_printed_once(stack):
    ran = manage(stack, "createowner", "First@example.com", "--name", "Ada", "--json")
    assert ran.code == 0
    assert ran.json["created"] is True
    password = ran.json["password"]
    assert re.fullmatch("[A-Za-z0-9]{24}", password)
    member = Member.objects.get(email="first@example.com")
    assert (member.first_name, member.is_staff) == ("Ada", True)
    assert member.check_password(password)
    given = Grant.objects.get(member=member)
    assert (given.role, given.application, given.environment) == (Role.OWNER, None, None)
    row = AuditEvent.objects.get(action=Action.MEMBER_CREATED)
    assert (row.actor_kind, row.object_id) == ("system", str(member.pk))
    assert AuditEvent.objects.filter(action=Action.GRANT_CHANGED).exists()
    assert not AuditEvent.objects.filter(payload__contains=password).exists()


def test_a_second_createowner_changes_nothing(database):
    call("createowner", "first@example.com")
    before = Member.objects.get().password
    ran = call("createowner", "FIRST@example.com", "--json")
    assert (ran.code, ran.json) == (0, {"created": False})
    assert Member.objects.get().password == before
    assert AuditEvent.objects.filter(action=Action.MEMBER_CREATED).count() == 1


def test_createowner_never_raises_a_member_who_is_not_an_owner(people):
    ran = call("createowner", people.viewer.email)
    assert (ran.code, "not an active owner" in ran.err) == (1, True)
    assert not Grant.objects.filter(member=people.viewer, role=Role.OWNER).exists()


def test_createowner_refuses_what_is_not_an_address(database):
    ran = call("createowner", "nobody")
    assert (ran.code, "valid email" in ran.err) == (2, True)
    assert not Member.objects.exists()


# --- registerkey ---


def test_it_records_a_key_whose_secret_comes_by_standard_input(stack, people, at_vendor):
    secret = at_vendor["key"]
    ran = register(stack, f"  {secret}\n", "--vendor-id", at_vendor["id"], "--json")
    assert (ran.code, ran.err) == (0, "")
    assert secret not in ran.out
    version = ApiKey.objects.get(pk=ran.json["key"]).current
    assert secret_of(version) == secret
    assert (version.vendor_id, version.added_by) == (at_vendor["id"], people.owner)
    assert ran.json["answer"] == "valid"
    assert ran.json["notes"] == ["White space around the key was removed."]
    row = AuditEvent.objects.get(action=Action.KEY_REGISTERED)
    assert (row.actor_label, "command registerkey by" in row.payload) == (str(people.owner), True)


def test_without_a_secret_on_standard_input_it_says_how(stack, people):
    ran = register(stack, "\n")
    assert (ran.code, "Nothing came in on standard input" in ran.err) == (2, True)
    assert not ApiKey.objects.exists()


def test_input_that_is_not_text_or_too_much_is_refused(stack, people):
    assert "not UTF-8" in register(stack, b"\xff\xfe\x00secret").err
    ran = register(stack, "k" * 70_000)
    assert (ran.code, "More than 64 KB" in ran.err) == (2, True)


def test_a_refused_secret_is_not_recorded_and_not_repeated(stack, people, at_vendor):
    wrong = "inf_" + "Canary0Wrong" * 3
    ran = register(stack, wrong, "--json")
    assert (ran.code, ran.json["code"]) == (1, "refused_by_vendor")
    assert ran.err.startswith("Error: The vendor refuses this key")
    assert "Traceback" not in ran.err
    assert wrong not in ran.out + ran.err
    assert not ApiKey.objects.exists()


def test_a_vendor_that_cannot_tell_is_a_reason_to_wait_unless_told_otherwise(
    stack, vendor, people, at_vendor
):
    vendor_says(vendor, "cannot_tell")
    assert register(stack, at_vendor["key"]).code == 5
    assert not ApiKey.objects.exists()
    assert register(stack, at_vendor["key"], "--unchecked").code == 0
    assert ApiKey.objects.get().current.check_answer == "cannot_tell"


def test_a_secret_store_that_is_away_leaves_nothing_behind(stack, people, at_vendor):
    ran = register(stack, at_vendor["key"], VAULT_ADDR=DOWN)
    assert ran.code == 5
    assert "Traceback" not in ran.err
    assert at_vendor["key"] not in ran.out + ran.err
    assert not ApiKey.objects.exists()


def test_names_that_do_not_exist_are_named(stack, people, at_vendor):
    ran = register(stack, at_vendor["key"], "--account", "Nowhere")
    assert (ran.code, ran.err.strip()) == (1, "Error: There is no account named “Nowhere”.")


def test_a_key_belongs_to_an_application_or_a_person_never_both(stack, people, at_vendor):
    both = register(stack, at_vendor["key"], "--member", "owner@example.com", "--application", "1")
    assert (both.code, "not allowed with" in both.err) == (2, True)
    own = register(stack, at_vendor["key"], "--member", "owner@example.com")
    assert (own.code, ApiKey.objects.get().member) == (0, people.owner)


def test_it_acts_with_the_rights_of_the_person_named(stack, people, at_vendor):
    ran = register(stack, at_vendor["key"], "--by", "viewer@example.com")
    assert (ran.code, "role does not let you" in ran.err) == (1, True)
    assert register(stack, at_vendor["key"], "--by", "Operator@example.com").code == 0


def test_a_name_with_invisible_characters_is_refused(stack, people, at_vendor):
    ran = register(stack, at_vendor["key"], "--name", "re\u200bports")
    assert (ran.code, "invisible character" in ran.err) == (1, True)


# --- in whose name ---


def test_with_several_owners_the_command_must_be_told_who_acts(people, key):
    assert call("checkkey", key.pk).code == 0
    grant(make_member("second@example.com"), Role.OWNER)
    ran = call("checkkey", key.pk)
    assert (ran.code, "There are several owners" in ran.err) == (2, True)
    assert call("checkkey", key.pk, "--by", "second@example.com").code == 0


def test_an_owner_whose_role_has_ended_is_no_default(people, key):
    Grant.objects.filter(member=people.owner).update(
        expires_at=timezone.now() - timedelta(minutes=1)
    )
    ran = call("checkkey", key.pk)
    assert (ran.code, "There is no owner yet" in ran.err) == (2, True)


def test_an_inactive_member_cannot_act(people, key):
    Member.objects.filter(pk=people.operator.pk).update(is_active=False)
    ran = call("checkkey", key.pk, "--by", "operator@example.com")
    assert (ran.code, "no active member" in ran.err) == (2, True)


# --- checkkey ---


@pytest.mark.parametrize(("answer", "code"), [("valid", 0), ("refused", 1), ("cannot_tell", 2)])
def test_the_exit_code_is_the_vendors_verdict(vendor, people, key, answer, code):
    if answer != "valid":
        vendor_says(vendor, answer)
    ran = call("checkkey", "sandbox/DEVELOPMENT/invoices", "--json")
    assert (ran.code, ran.json["answer"]) == (code, answer)
    key.current.refresh_from_db()
    assert key.current.check_answer == answer


def test_checkkey_does_not_show_the_secret(people, key):
    ran = call("checkkey", key.pk)
    assert ran.code == 0
    assert secret_of(key.current) not in ran.out


@pytest.mark.parametrize("named", ["999999", "99999999999999999999", "sandbox/development/none"])
def test_unknown_keys_and_foreign_ones_read_alike(people, key, named):
    unknown = call("checkkey", named)
    foreign = call("checkkey", key.pk, "--by", "outsider@example.com")
    assert (unknown.code, foreign.code) == (1, 1)
    assert unknown.err == foreign.err


# --- showaudit ---


def test_it_shows_who_did_what_to_a_key(people, key, place):
    call("checkkey", key.pk, "--by", "operator@example.com")
    rows = call("showaudit", "--key", "sandbox/development/invoices", "--json").json
    assert [row["action"] for row in rows] == ["key.checked", "key.registered"]
    assert rows[0]["actor"] == str(people.operator)
    shown = call("showaudit", "--key", key.pk).out
    assert "key.checked" in shown
    assert shown.splitlines()[0].split()[:3] == ["Seq", "At", "Action"]


def test_it_filters_by_actor_action_and_number(people, key, place):
    tokens.issue(people.owner, "app", place.application, place.environment)
    call("checkkey", key.pk, "--by", "operator@example.com")
    by_actor = call("showaudit", "--actor", "OPERATOR", "--json").json
    assert [row["action"] for row in by_actor] == ["key.checked"]
    by_action = call("showaudit", "--action", "token.created", "--json").json
    assert [row["action"] for row in by_action] == ["token.created"]
    assert len(call("showaudit", "--limit", "1", "--json").json) == 1


def test_it_shows_what_happened_since_a_time(people, key):
    now = timezone.now()
    for since, shown in (
        ("1h", True),
        (f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}", True),
        (f"{now - timedelta(days=2):%Y-%m-%d}", True),
        (f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", False),
    ):
        rows = call("showaudit", "--key", key.pk, "--since", since, "--json").json
        assert bool(rows) is shown, since


@pytest.mark.parametrize(
    "wrong", [("--since", "yesterday"), ("--since", "2026-13-45"), ("--limit", "0")]
)
def test_it_refuses_filters_that_make_no_sense(database, wrong):
    assert call("showaudit", *wrong).code == 2


def test_reading_the_audit_log_is_recorded_itself_and_shown_to_the_next_reader(database):
    assert call("showaudit", "--actor", "nobody", "--json").json == []
    row = AuditEvent.objects.get()
    assert (row.action, row.actor_kind) == (Action.AUDIT_READ, "system")
    assert '"actor=nobody"' in row.payload
    rows = call("showaudit", "--json").json
    assert [row["action"] for row in rows] == ["audit.read"]


# --- verifyaudit ---


def test_an_untouched_audit_log_is_verified(people, key):
    ran = call("verifyaudit", "--json")
    assert ran.code == 0
    assert ran.json["ok"] is True
    assert ran.json["rows"] == AuditEvent.objects.count() > 0
    assert call("verifyaudit").out.startswith("Audit verified: ")


def note(count: int) -> None:
    for number in range(count):
        record_now(Action.KEY_CHECKED, system_actor(f"test {number}"))


def test_a_changed_audit_row_is_named(stack, database):
    note(3)
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE seq = 2")
    ran = manage(stack, "verifyaudit", "--json")
    assert (ran.code, ran.json["details"]["bad_seq"]) == (1, 2)
    assert "broken at row #2: the column actor_label was changed" in ran.err


def test_signed_checkpoints_are_checked_too(database, settings, tmp_path):
    settings.AUDIT_SIGNING_KEY = base64.b64encode(bytes(range(32))).decode()
    settings.AUDIT_EXPORT_DIR = str(tmp_path)
    note(2)
    checkpoints.sign_checkpoint()
    public, file = checkpoints.public_key(), tmp_path / checkpoints.EXPORT_NAME
    assert call("verifyaudit", "--json").json["checkpoints"] is True
    settings.AUDIT_SIGNING_KEY = ""
    assert call("verifyaudit", "--json").json["checkpoints"] is False
    assert call("verifyaudit", "--public-key", public, "--exported", file).code == 0
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM audit_checkpoint")
    ran = call("verifyaudit", "--public-key", public, "--exported", file)
    assert (ran.code, "no longer in the database" in ran.err) == (1, True)


@pytest.mark.parametrize("wrong", [("--public-key", "short"), ("--exported", "checkpoints.jsonl")])
def test_checkpoints_are_not_checked_against_nonsense(database, settings, wrong):
    settings.AUDIT_SIGNING_KEY = ""
    assert call("verifyaudit", *wrong).code == 2
