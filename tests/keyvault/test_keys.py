"""The door to keys, against the real vendor stand-in, OpenBao and Postgres."""

import contextlib
import threading
from typing import Any

import pytest
from django.db import connections
from hvac.exceptions import InvalidPath

from keyvault.access.approvals import NeedsApproval
from keyvault.audit.models import AuditEvent
from keyvault.audit.verify import verify
from keyvault.core.errors import BadInput, Conflict, Denied, Unavailable
from keyvault.core.redaction import redact
from keyvault.inventory import keys, versions
from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import ApiKey, Environment, KeyVersion, Member, VersionState
from keyvault.vault import secret_store
from tests.factories import grant, make_key, make_member, secret_of, show
from tests.keyvault.helpers import windows
from tests.keyvault.vault import inspector

USAGE = "usage"


@pytest.fixture
def new(place: Any) -> NewKey:
    """Return what a person says of a key of the manual vendor account."""
    return NewKey(place.manual_account, place.environment, "dashboard", place.application)


@pytest.fixture
def text(vendor: Any, place: Any) -> str:
    """Return the secret of a key that someone made in the vendor's dashboard."""
    return str(vendor.create_key(place.vendor_manual["id"], label="by hand")["key"])


def stored(stack: Any) -> set[str]:
    """Return the names of all secrets of keys in OpenBao."""
    kv = inspector(stack.openbao).secrets.kv.v2
    with contextlib.suppress(InvalidPath):  # when there is none
        return set(kv.list_secrets("keys", mount_point="keyvault")["data"]["keys"])
    return set()


@pytest.fixture
def nothing_is_left(stack: Any) -> Any:
    """Return a check that rows, secrets and audit rows are as they were."""
    before = stored(stack), AuditEvent.objects.count()

    def check(*, keys_there: int = 0) -> None:
        assert ApiKey.objects.count() == keys_there
        assert KeyVersion.objects.count() == keys_there
        assert (stored(stack), AuditEvent.objects.count()) == before

    return check


# --- Registering ---


def test_a_working_key_is_recorded_with_everything_but_its_secret(
    people: Any, new: NewKey, text: str
) -> None:
    added = register_key(people.operator, new, f"  INFLUTICS_API_KEY='{text}'\n")
    key, version = added.version.key, added.version
    assert added.verdict.answer == "valid"
    assert len(added.notes) == 3
    key.refresh_from_db()
    assert key.current == version
    assert (version.number, version.state, version.source) == (1, "current", "registered")
    assert (version.tail, version.length) == (text[-4:], len(text))
    assert version.check_answer == "valid"
    assert secret_of(version) == text
    (row,) = AuditEvent.objects.filter(action="key.registered")
    assert (row.key_id, row.actor_id) == (key.pk, str(people.operator.pk))
    with connections["owner"].cursor() as cursor:
        for table in ("keyvault_apikey", "keyvault_keyversion", "audit_auditevent"):
            cursor.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")
            assert not windows(text, 8) & windows(cursor.fetchone()[0], 8)


def test_a_refused_key_is_not_recorded(
    vendor: Any, people: Any, new: NewKey, text: str, nothing_is_left: Any
) -> None:
    vendor.delete_key_by_secret(text)
    with pytest.raises(BadInput) as caught:
        register_key(people.operator, new, text)
    assert caught.value.code == "refused_by_vendor"
    nothing_is_left()
    with pytest.raises(BadInput):  # not by that way either
        register_key(people.operator, new, text, unchecked=True)
    nothing_is_left()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_vendor_that_cannot_tell_leaves_the_choice_to_the_person(
    vendor: Any, people: Any, new: NewKey, text: str, nothing_is_left: Any, status: int
) -> None:
    """B64: neither recorded as if checked nor called wrong."""
    vendor.fault(USAGE, kind="status", times=None, status=status, body={"success": False})
    with pytest.raises(Unavailable) as caught:
        register_key(people.operator, new, text)
    assert (caught.value.code, caught.value.retryable) == ("vendor_cannot_tell", True)
    nothing_is_left()
    added = register_key(people.operator, new, text, unchecked=True)
    assert added.version.check_answer == "cannot_tell"
    assert secret_of(added.version) == text


@pytest.mark.parametrize(
    ("pasted", "code"),
    [
        ("", "empty"),
        ("short", "too_short"),
        ("inf_****abcd", "masked"),
        ("inf_with a space", "inner_space"),
        ("inf_\u200babcdefgh", "odd_character"),
        ("k" * 10_240, "too_long"),
    ],
)
def test_bad_input_reaches_neither_vendor_nor_vault(
    vendor: Any, people: Any, new: NewKey, nothing_is_left: Any, pasted: str, code: str
) -> None:
    """B06, B37, B62, B85."""
    calls = len(vendor.ledger())
    with pytest.raises(BadInput) as caught:
        register_key(people.operator, new, pasted)
    assert caught.value.code == code
    assert len(vendor.ledger()) == calls
    nothing_is_left()


def test_a_secret_that_is_known_is_named_only_to_who_may_know_of_it(
    vendor: Any, place: Any, people: Any, text: str
) -> None:
    """A duplicate: told of which key, if the person may see it, and stored for no second one."""
    first = NewKey(place.manual_account, place.environment, "alpha-key", place.application)
    key = register_key(people.owner, first, text).version.key
    second = NewKey(place.manual_account, place.environment, "second", place.application)
    with pytest.raises(Conflict) as caught:
        register_key(people.operator, second, f"Bearer {text}")
    assert caught.value.code == "duplicate"
    assert str(key) in caught.value.message
    own = NewKey(place.manual_account, place.environment, "mine", member=people.outsider)
    with pytest.raises(Conflict) as caught:
        register_key(people.outsider, own, text)
    assert "alpha-key" not in caught.value.message
    assert "  " not in caught.value.message
    assert ApiKey.objects.count() == 1


def test_a_retired_secret_does_not_come_back(
    vendor: Any, place: Any, people: Any, new: NewKey
) -> None:
    key = make_key(vendor, place, people.owner)
    text = secret_of(key.current)
    KeyVersion.objects.filter(key=key).update(state="discarded")
    with pytest.raises(Conflict) as caught:
        register_key(people.operator, new, text)
    assert caught.value.code == "retired_secret"
    own = NewKey(place.manual_account, place.environment, "mine", member=people.outsider)
    with pytest.raises(Conflict) as caught:
        register_key(people.outsider, own, text)
    assert key.name not in caught.value.message
    assert "  " not in caught.value.message


@pytest.mark.parametrize("name", ["dashboard", "DASHBOARD", " Dashboard "])
def test_a_name_is_used_once_whatever_its_case(
    vendor: Any, people: Any, new: NewKey, text: str, nothing_is_left: Any, name: str
) -> None:
    """B16, B96: found before the vendor is asked; another environment may use it."""
    key = register_key(people.operator, new, text).version.key
    other = vendor.create_key(vendor.lookup(text)["account"], label="other")["key"]
    calls = len(vendor.ledger())
    clash = NewKey(new.account, new.environment, name, new.application)
    with pytest.raises(Conflict) as caught:
        register_key(people.operator, clash, other)
    assert caught.value.code == "name_used"
    assert len(vendor.ledger()) == calls
    elsewhere = Environment.objects.create(name="Elsewhere")
    register_key(people.operator, NewKey(new.account, elsewhere, name, new.application), other)
    assert key.name == "dashboard"


@pytest.mark.parametrize("name", ["", "   ", "a" * 101, "two\nlines", "nul\x00", "zero\u200bwidth"])
def test_an_odd_name_is_refused_in_words(
    vendor: Any, people: Any, new: NewKey, text: str, nothing_is_left: Any, name: str
) -> None:
    """B87: before anything is asked or stored, and as an error for people."""
    calls = len(vendor.ledger())
    new.name = name
    with pytest.raises(BadInput) as caught:
        register_key(people.operator, new, text)
    assert caught.value.code == "bad_field"
    assert len(vendor.ledger()) == calls
    nothing_is_left()


def test_a_key_has_exactly_one_owner(place: Any, people: Any, text: str) -> None:
    for owners in ({}, {"application": place.application, "member": people.owner}):
        with pytest.raises(BadInput):
            register_key(
                people.owner, NewKey(place.manual_account, place.environment, "x", **owners), text
            )
    with pytest.raises(Denied):  # in another person's name
        register_key(
            people.owner,
            NewKey(place.manual_account, place.environment, "x", member=people.viewer),
            text,
        )
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("who", ["developer", "viewer", "auditor", "outsider"])
def test_who_may_not_record_keys_is_denied_before_anything_is_asked(
    vendor: Any, people: Any, new: NewKey, text: str, nothing_is_left: Any, who: str
) -> None:
    calls = len(vendor.ledger())
    with pytest.raises(Denied):
        register_key(getattr(people, who), new, text)
    assert len(vendor.ledger()) == calls
    nothing_is_left()


def test_of_two_people_at_once_one_records_the_key(people: Any, new: NewKey, text: str) -> None:
    results: list[Any] = []

    def act(name: str) -> None:
        wish = NewKey(new.account, new.environment, name, new.application)
        try:
            results.append(register_key(people.operator, wish, text))
        except Conflict as error:
            results.append(error)
        finally:
            for each in connections.all():
                each.close()

    threads = [threading.Thread(target=act, args=(f"key {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, keys.Added) for result in results) == 1
    assert len(results) == 4
    assert KeyVersion.objects.get().key == ApiKey.objects.get()


@pytest.mark.parametrize("length", [64, 233, 351, 1700, 4096])
def test_keys_of_all_lengths_come_back_whole(
    vendor: Any, people: Any, new: NewKey, length: int
) -> None:
    """B62: stored and revealed byte for byte; the tail and the length are the real ones."""
    vendor.fault(USAGE, kind="status", times=None, status=503, body={"success": False})
    text = "inf_" + "aB3-" * 1100
    text = text[: length - 1] + "Z"
    version = register_key(people.owner, new, text, unchecked=True).version
    shown = show(people.owner, version.key, "length test")
    assert shown.reveal() == text
    assert (version.length, version.tail) == (length, text[-4:])


# --- Adding a version, changing what people call a key ---


def test_a_pasted_secret_becomes_a_standby(
    vendor: Any, place: Any, people: Any, new: NewKey, text: str
) -> None:
    key = register_key(people.operator, new, text).version.key
    other = vendor.create_key(place.vendor_manual["id"], label="standby")["key"]
    added = keys.add_pasted(people.operator, key, other + "\n", VersionState.STANDBY)
    assert (added.version.number, added.version.state) == (2, "standby")
    assert secret_of(added.version) == other
    key.refresh_from_db()
    assert secret_of(key.current) == text


def test_a_key_of_another_vendor_account_is_refused(
    vendor: Any, people: Any, new: NewKey, text: str
) -> None:
    """B27: it works, but for someone else: told with what differs, and nothing is stored."""
    key = register_key(people.operator, new, text).version.key
    foreign = vendor.create_account("someone else", plan="business", credits=777)
    other = vendor.create_key(foreign["id"], label="x")["key"]
    with pytest.raises(BadInput) as caught:
        keys.add_pasted(people.operator, key, other, VersionState.STANDBY)
    assert caught.value.code == "other_account"
    assert "business" in caught.value.message
    assert not windows(other, 8) & windows(caught.value.message, 8)
    assert KeyVersion.objects.count() == 1


def test_a_change_of_the_description_never_touches_the_secret(
    people: Any, new: NewKey, text: str
) -> None:
    """B06: also with a mask or a secret in the fields; rows and Vault stay as they are."""
    key = register_key(people.operator, new, text).version.key
    version = KeyVersion.objects.values().get()
    for name, purpose in (("renamed", "new"), ("renamed", "inf_****"), ("x", ""), ("inf_***", "")):
        keys.change_key(people.operator, key, name=name, purpose=purpose)
        key.refresh_from_db()
        assert (key.name, key.purpose) == (name, purpose)
    assert KeyVersion.objects.values().get() == version
    assert secret_of(key.current) == text
    assert AuditEvent.objects.filter(action="key.changed").count() == 4


def test_a_change_to_a_used_or_odd_name_is_refused(vendor: Any, place: Any, people: Any) -> None:
    key = make_key(vendor, place, people.owner, name="one")
    make_key(vendor, place, people.owner, name="two")
    for name, error in (("TWO", Conflict), ("", BadInput), ("a" * 101, BadInput), ("\n", BadInput)):
        with pytest.raises(error):
            keys.change_key(people.operator, key, name=name, purpose="")
    keys.change_key(people.operator, key, name="ONE", purpose="")  # its own, in another case
    assert not AuditEvent.objects.filter(action="key.changed").count() > 1


# --- Revealing and checking ---


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> Any:
    return make_key(vendor, place, people.owner)


def reveals() -> list[tuple[str, str, Any]]:
    import json

    rows = AuditEvent.objects.filter(action="secret.revealed").order_by("seq")
    return [(row.outcome, row.actor_id, json.loads(row.payload)["reason"]) for row in rows]


def test_a_reveal_needs_a_proof_and_a_reason_and_is_recorded(people: Any, key: Any) -> None:
    shown = show(people.developer, key, "debugging the nightly job")
    assert shown.reveal() == secret_of(key.current)
    assert reveals() == [("ok", str(people.developer.pk), "debugging the nightly job")]
    assert redact(f"log {shown.reveal()}") == "log [hidden]"


@pytest.mark.parametrize(
    ("wish", "error", "code"),
    [
        ({"proved": False}, Denied, "proof_required"),
        ({"reason": ""}, BadInput, "bad_input"),
        ({"reason": "   \n "}, BadInput, "bad_input"),
        ({"reason": "abcd"}, BadInput, "bad_input"),
        ({"reason": "too short a word", "break_glass": True}, BadInput, "bad_input"),
    ],
)
def test_each_denied_reveal_is_recorded(
    people: Any, key: Any, wish: dict[str, Any], error: Any, code: str
) -> None:
    """B30: with actor, target and why."""
    with pytest.raises(error) as caught:
        show(people.developer, key, **wish)
    assert caught.value.code == code
    assert [outcome for outcome, _, _ in reveals()] == ["denied"]
    assert AuditEvent.objects.filter(key_id=key.pk, outcome="denied").count() == 1
    assert verify().ok


def test_a_failure_after_the_audit_row_leaves_the_row(people: Any, key: Any) -> None:
    """B30: the attempt stays on record when Vault then fails."""
    secret_store.destroy("keys", key.current.path)
    with pytest.raises(secret_store.StoreMissing):
        show(people.developer, key, "a good reason")
    assert len(reveals()) == 1


def test_a_member_reveals_the_own_key_and_nobody_else_does_alone(
    vendor: Any, place: Any, people: Any, text: str
) -> None:
    new = NewKey(place.manual_account, place.environment, "mine", member=people.viewer)
    mine = register_key(people.viewer, new, text).version.key
    grant(people.operator, "owner")  # type: ignore[arg-type]
    with pytest.raises(Denied):
        show(people.developer, mine)
    for other in (people.owner, people.operator):
        with pytest.raises(NeedsApproval):
            show(other, mine)
    shown = show(people.viewer, mine, "a good reason")
    assert shown.reveal() == text


def test_an_inactive_member_reveals_nothing(people: Any, key: Any) -> None:
    """B11: from the next request on, also with a grant still in place."""
    Member.objects.filter(pk=people.developer.pk).update(is_active=False)
    for member in (people.developer, Member.objects.get(pk=people.developer.pk)):
        with pytest.raises(Denied):
            show(member, key, "a good reason")
    assert {outcome for outcome, _, _ in reveals()} == {"denied"}


def test_a_secret_that_was_changed_in_vault_is_not_released(
    stack: Any, people: Any, key: Any
) -> None:
    """Someone with Vault's own rights put another value there: it is told, not given out."""
    inspector(stack.openbao).secrets.kv.v2.create_or_update_secret(
        f"keys/{key.current.path}", {"secret": "another-value"}, cas=1, mount_point="keyvault"
    )
    with pytest.raises(Unavailable) as caught:
        show(people.developer, key, "a good reason")
    assert caught.value.code == "secret_changed"
    with pytest.raises(Unavailable):
        keys.check_key(people.developer, key)


def test_a_check_asks_the_vendor_and_notes_the_answer(vendor: Any, people: Any, key: Any) -> None:
    assert keys.check_key(people.viewer, key).answer == "valid"
    vendor.fault(USAGE, kind="status", times=1, status=503, body={"success": False})
    assert keys.check_key(people.viewer, key).answer == "cannot_tell"
    vendor.delete_key_by_secret(secret_of(key.current))
    assert keys.check_key(people.viewer, key).answer == "refused"
    version = KeyVersion.objects.get()
    assert (version.check_answer, version.state) == ("refused", "current")
    assert AuditEvent.objects.filter(action="key.checked").count() == 3


def test_a_key_without_a_secret_says_so(people: Any, key: Any) -> None:
    key.current = None
    for act in (
        lambda: keys.check_key(people.owner, key),
        lambda: show(people.owner, key, "a good reason"),
    ):
        with pytest.raises(Conflict):
            act()


def test_people_differ_in_more_than_the_case_of_their_address(people: Any) -> None:
    """B96: one person, one sign-in."""
    from django.db import IntegrityError, transaction

    with pytest.raises(IntegrityError), transaction.atomic():
        make_member("OWNER@example.com")


def test_the_area_of_secrets_is_fixed(key: Any) -> None:
    """A version's path names nothing of the key; it alone leads to the secret."""
    path = str(key.current.path)
    assert key.name not in path
    assert secret_store.read(versions.AREA, key.current.path)["secret"] == secret_of(key.current)
