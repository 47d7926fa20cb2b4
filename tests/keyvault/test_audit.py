"""The audit log: appended by one function, chained without gaps, and any later change is found."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyvault.audit.actors import Subject, member_actor, system_actor
from keyvault.audit.log import AuditUnavailable, record, record_now
from keyvault.audit.models import Action, AuditEvent, ChainHead
from keyvault.audit.verify import _COLUMNS, row_hash, verify
from keyvault.core.request_context import acting
from keyvault.core.secret import Secret
from tests.factories import make_member, show

SYSTEM = system_actor("test")


def append(count: int) -> None:
    for number in range(count):
        record_now(Action.KEY_CHECKED, SYSTEM, Subject("apikey", str(number), f"key {number}"))


def as_owner(*statements: str) -> None:
    """Tamper with the power of the database owner, whom no grant holds back."""
    with connections["owner"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


# --- The chain ---


def test_an_empty_log_verifies() -> None:
    report = verify()
    assert (report.ok, report.rows, report.last_seq) == (True, 0, 0)


def test_rows_are_numbered_linked_and_hashed() -> None:
    append(5)
    rows = list(AuditEvent.objects.order_by("seq"))
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    before = bytes(32)
    for row in rows:
        assert bytes(row.prev) == before
        assert bytes(row.hash) == row_hash(row.seq, before, row.payload)
        before = bytes(row.hash)
    head = ChainHead.objects.get()
    assert (head.seq, bytes(head.hash)) == (5, before)
    report = verify()
    assert (report.ok, report.rows, report.last_seq) == (True, 5, 5)


def test_sixteen_writers_at_once_make_one_line_without_gaps() -> None:
    """T:chain_concurrent: both kinds of writers, some of which roll back."""

    def write(number: int) -> None:
        try:
            for turn in range(6):
                if number % 2:
                    record_now(Action.KEY_CHECKED, SYSTEM, reason=f"{number}.{turn}")
                    continue
                with transaction.atomic():
                    record(Action.KEY_CHANGED, SYSTEM, reason=f"{number}.{turn}")
                    if turn % 3 == 2:
                        transaction.set_rollback(True)
        finally:
            for each in connections.all():
                each.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify()
    assert report.ok, report
    assert report.rows == 8 * 6 + 8 * 4
    assert report.last_seq == report.rows


def test_verifying_while_others_write_raises_no_false_alarm() -> None:
    """Rows and head are read as of one moment."""
    stop = threading.Event()

    def write() -> None:
        try:
            while not stop.is_set():
                record_now(Action.KEY_CHECKED, SYSTEM)
        finally:
            for each in connections.all():
                each.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        reports = [verify() for _ in range(40)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(report.ok for report in reports), [r for r in reports if not r.ok]
    assert reports[-1].rows > reports[0].rows


REFORGE = """
DO $$ DECLARE r record; p bytea := decode(repeat('00', 32), 'hex'); h bytea; BEGIN
FOR r IN SELECT * FROM audit_auditevent ORDER BY seq LOOP
  h := sha256('\\x01'::bytea || int8send(r.seq) || p || convert_to(r.payload, 'UTF8'));
  UPDATE audit_auditevent SET prev = p, hash = h WHERE seq = r.seq; p := h;
END LOOP; END $$
"""
TAMPERED: dict[str, tuple[list[str], int, str]] = {
    "text of a row": (
        ["UPDATE audit_auditevent SET payload = replace(payload, 'key 3', 'key 9') WHERE seq = 4"],
        4,
        "text was changed",
    ),
    "one sign of the text": (
        ["UPDATE audit_auditevent SET payload = payload || ' ' WHERE seq = 1"],
        1,
        "text was changed",
    ),
    "hash": (["UPDATE audit_auditevent SET hash = sha256('x') WHERE seq = 3"], 3, "text"),
    "link": (["UPDATE audit_auditevent SET prev = sha256('x') WHERE seq = 3"], 3, "linked"),
    "time": (
        ["UPDATE audit_auditevent SET at = at - interval '1 microsecond' WHERE seq = 2"],
        2,
        "number or time",
    ),
    "number": (["UPDATE audit_auditevent SET seq = 100 WHERE seq = 5"], 100, "row #5 is missing"),
    "deleted row": (["DELETE FROM audit_auditevent WHERE seq = 3"], 4, "row #3 is missing"),
    "deleted first row": (["DELETE FROM audit_auditevent WHERE seq = 1"], 2, "row #1 is missing"),
    "cut tail": (["DELETE FROM audit_auditevent WHERE seq >= 4"], 4, "rows after #3 are missing"),
    "emptied": (["TRUNCATE audit_auditevent"], 1, "rows after #0 are missing"),
    "head set back": (
        ["UPDATE audit_chainhead SET seq = 3"],
        6,
        "head is #3",
    ),
    "head removed": (["DELETE FROM audit_chainhead"], 6, "head"),
    "two rows swapped": (
        [
            "UPDATE audit_auditevent SET seq = -1 WHERE seq = 2",
            "UPDATE audit_auditevent SET seq = 2 WHERE seq = 3",
            "UPDATE audit_auditevent SET seq = 3 WHERE seq = -1",
        ],
        2,
        "linked",
    ),
    "row added at the end": (
        [
            "INSERT INTO audit_auditevent SELECT 6, at, action, outcome, actor_kind, actor_id,"
            " actor_label, object_kind, object_id, object_label, key_id, request_id, payload,"
            " hash, hash FROM audit_auditevent WHERE seq = 5"
        ],
        6,
        "text was changed",
    ),
    "row added before the first": (
        [
            "INSERT INTO audit_auditevent SELECT -7, at, action, outcome, actor_kind, actor_id,"
            " actor_label, object_kind, object_id, object_label, key_id, request_id, payload,"
            " prev, hash FROM audit_auditevent WHERE seq = 1"
        ],
        -7,
        "row #1 is missing",
    ),
    "row repeated under another number, links forged": (
        ["UPDATE audit_auditevent SET seq = seq + 1 WHERE seq = 5", REFORGE],
        6,
        "row #5 is missing",
    ),
    "number inside the text, links forged": (
        [
            "UPDATE audit_auditevent SET payload = replace(payload, '\"seq\": 4', '\"seq\": 44')"
            " WHERE seq = 4",
            REFORGE,
        ],
        4,
        "number or time",
    ),
    "everything, without the head": (
        ["UPDATE audit_auditevent SET payload = replace(payload, 'key 1', 'key 7')", REFORGE],
        2,
        "column object_label",
    ),
}
COLUMNS = [name for name in _COLUMNS if name != "key_id"]


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_by_the_database_owner_is_found_and_named(what: str) -> None:
    """T:tamper: update, delete, swap, insert, truncate, rewrite."""
    append(5)
    assert verify().ok
    statements, bad, problem = TAMPERED[what]
    as_owner(*statements)
    report = verify()
    assert not report.ok
    assert report.bad_seq == bad
    assert problem in report.problem


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_column_is_found_although_its_text_was_left(column: str) -> None:
    """Pages and exports read the columns: each must say what was hashed."""
    append(3)
    as_owner(f"UPDATE audit_auditevent SET {column} = 'x' WHERE seq = 2")
    report = verify()
    assert (report.bad_seq, column in report.problem) == (2, True)


def test_a_changed_key_number_is_found() -> None:
    append(3)
    as_owner("UPDATE audit_auditevent SET key_id = 77 WHERE seq = 3")
    assert verify().bad_seq == 3


def test_a_forged_history_that_forgets_the_head_is_found() -> None:
    append(3)
    as_owner(
        "UPDATE audit_auditevent SET payload = replace(payload, '\"ok\"', '\"no\"'),"
        " outcome = 'no' WHERE seq = 3",
        REFORGE,
    )
    report = verify()
    assert "head" in report.problem


# --- The app's own role ---


@pytest.mark.parametrize("alias", ["default", "audit"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditevent SET outcome = 'no'",
        "DELETE FROM audit_auditevent",
        "TRUNCATE audit_auditevent",
        "INSERT INTO audit_auditevent SELECT 99, at, action, outcome, actor_kind, actor_id,"
        " actor_label, object_kind, object_id, object_label, key_id, request_id, payload, prev,"
        " hash FROM audit_auditevent",
        "UPDATE audit_chainhead SET seq = 0",
        "DELETE FROM audit_chainhead",
        "INSERT INTO audit_chainhead VALUES (2, 0, 'x')",
        "TRUNCATE audit_chainhead",
        "SELECT * FROM audit_chainhead FOR UPDATE",
        "ALTER TABLE audit_auditevent DISABLE TRIGGER ALL",
        "ALTER TABLE audit_auditevent ADD COLUMN x int",
        "DROP TABLE audit_auditevent CASCADE",
        "DROP FUNCTION audit_append(jsonb)",
        "ALTER FUNCTION audit_append(jsonb) SECURITY INVOKER",
        "CREATE OR REPLACE FUNCTION audit_append(entry jsonb) RETURNS bigint LANGUAGE sql AS"
        " 'SELECT 1::bigint'",
        "ALTER TABLE audit_auditevent OWNER TO CURRENT_USER",
        "CREATE RULE x AS ON INSERT TO audit_auditevent DO INSTEAD NOTHING",
        "CREATE TRIGGER x BEFORE INSERT ON audit_auditevent EXECUTE FUNCTION tsvector_update()",
        "SET ROLE keyvault_owner",
        "SET session_replication_role = replica",
        "CREATE TABLE public.sha256 (x int)",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''''::bytea'",
    ],
)
def test_the_apps_role_can_do_nothing_but_append(alias: str, statement: str) -> None:
    """Whoever takes over the app adds rows, and can alter, remove or hold up none."""
    append(2)
    with pytest.raises(DatabaseError), connections[alias].cursor() as cursor:
        cursor.execute(statement)
    append(1)
    report = verify()
    assert (report.ok, report.rows) == (True, 3)


def test_a_temporary_table_of_the_app_cannot_stand_in_for_the_log() -> None:
    """The function names its schema: a temporary table of the same name is not written to."""
    as_owner("GRANT TEMPORARY ON DATABASE keyvault TO keyvault_app")
    with connections["audit"].cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE audit_auditevent (LIKE public.audit_auditevent)")
        cursor.execute("CREATE TEMPORARY TABLE audit_chainhead (LIKE public.audit_chainhead)")
        cursor.execute("INSERT INTO audit_chainhead SELECT * FROM public.audit_chainhead")
        try:
            append(1)
        finally:
            cursor.execute("DROP TABLE pg_temp.audit_auditevent, pg_temp.audit_chainhead")
            as_owner("REVOKE TEMPORARY ON DATABASE keyvault FROM keyvault_app")
    assert verify().rows == 1


# --- Within and beside a transaction ---


def test_a_change_and_its_row_stand_or_fall_together() -> None:
    with transaction.atomic():
        make_member("a@example.com")
        record(Action.MEMBER_CREATED, SYSTEM)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()
    with transaction.atomic():
        record(Action.MEMBER_CREATED, SYSTEM)
    assert AuditEvent.objects.count() == 1


def test_a_denial_survives_the_rollback_of_its_request() -> None:
    """B30: committed at once, on a connection of its own."""
    record_now(Action.SECRET_REVEALED, SYSTEM, outcome="denied", reason="role")
    with transaction.atomic():
        make_member("a@example.com")
        transaction.set_rollback(True)
    (row,) = AuditEvent.objects.all()
    assert (row.action, row.outcome) == ("secret.revealed", "denied")


def test_a_row_that_must_survive_is_refused_inside_a_transaction() -> None:
    """It would wait for a head that the caller itself may hold; the slip is told at once."""
    with transaction.atomic(), pytest.raises(RuntimeError):
        record_now(Action.KEY_CHECKED, SYSTEM)


def test_a_row_in_an_open_transaction_holds_up_others_for_seconds_only() -> None:
    """LO-4: who cannot write its row does not act: it is told so, and tries again."""
    with transaction.atomic():
        record(Action.KEY_CHANGED, SYSTEM)
        errors: list[AuditUnavailable] = []

        def write() -> None:
            try:
                record_now(Action.KEY_CHECKED, SYSTEM)
            except AuditUnavailable as error:
                errors.append(error)
            finally:
                connections["audit"].close()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert errors[0].retryable
    assert verify().rows == 1


@contextmanager
def audit_closed() -> Iterator[None]:
    """Take the right to append away, as a full disk or a wrong grant would."""
    revoke = "REVOKE EXECUTE ON FUNCTION audit_append(jsonb) FROM keyvault_app"
    as_owner(revoke)
    try:
        yield
    finally:
        as_owner(revoke.replace("REVOKE", "GRANT").replace("FROM", "TO"))


def test_without_the_audit_log_nothing_happens() -> None:
    """LO-4: the change is rolled back, and the error is one to try again."""

    def add() -> None:
        with transaction.atomic():
            make_member("a@example.com")
            record(Action.MEMBER_CREATED, SYSTEM)

    with audit_closed():
        with pytest.raises(AuditUnavailable) as caught:
            add()
        with pytest.raises(AuditUnavailable):
            record_now(Action.SECRET_REVEALED, SYSTEM)
    assert caught.value.status == 503
    assert caught.value.retryable
    from keyvault.models import Member

    assert not Member.objects.exists()
    assert verify().rows == 0


def test_without_the_audit_log_no_door_releases_or_changes_anything(
    place: Any, people: Any, vendor: Any
) -> None:
    """T:reveal_without_audit_is_503: reveal, fetch, registration, token and rename."""
    from keyvault.delivery import fetch, tokens
    from keyvault.inventory import keys
    from keyvault.models import ApiKey, ServiceToken
    from tests.factories import make_key

    key = make_key(vendor, place, people.owner)
    token, text = tokens.issue(people.owner, "app", place.application, place.environment)
    name, rows = key.name, AuditEvent.objects.count()
    acts: list[Callable[[], Any]] = [
        lambda: show(people.owner, key, "a good reason"),
        lambda: keys.check_key(people.owner, key),
        lambda: fetch.fetch(text.reveal(), key.pk),
        lambda: make_key(vendor, place, people.owner, name="another"),
        lambda: keys.change_key(people.owner, key, name="renamed", purpose=""),
        lambda: tokens.issue(people.owner, "second", place.application, place.environment),
        lambda: tokens.revoke(people.owner, token),
    ]
    with audit_closed():
        for act in acts:
            with pytest.raises(AuditUnavailable):
                act()
    assert ApiKey.objects.get().name == name
    assert ServiceToken.objects.get().revoked_at is None
    assert AuditEvent.objects.count() == rows


# --- What a row says ---


def test_a_row_says_who_did_what_to_which_and_from_where(people: Any, place: Any) -> None:
    with acting("request-1", "192.0.2.7"):
        record_now(
            Action.KEY_CHANGED,
            member_actor(people.owner),
            place.application,
            reason="because",
            number=3,
            flag=True,
            nothing=None,
            many=[1, "two"],
        )
    row = AuditEvent.objects.get()
    assert (row.actor_kind, row.actor_id) == ("member", str(people.owner.pk))
    assert row.actor_label == str(people.owner)
    assert (row.object_kind, row.object_id) == ("application", str(place.application.pk))
    assert (row.object_label, row.request_id) == ("Billing", "request-1")
    import json

    said = json.loads(row.payload)
    assert said["source"] == "192.0.2.7"
    assert said["reason"] == "because"
    assert said["detail"] == {"number": 3, "flag": True, "nothing": None, "many": [1, "two"]}


def test_a_row_outlives_its_object(people: Any) -> None:
    """Labels are copied; deleting a person takes no history with it."""
    label = str(people.viewer)
    record_now(Action.MEMBER_SIGNED_IN, member_actor(people.viewer), people.viewer)
    people.viewer.delete()
    row = AuditEvent.objects.get()
    assert (row.actor_label, row.object_label) == (label, label)
    assert verify().ok


def test_a_secret_in_a_reason_or_detail_does_not_reach_the_log() -> None:
    """B26: history keeps no secret, whoever put it into a text."""
    canary = Secret("canary-in-the-audit-log-9182").reveal()
    record_now(
        Action.KEY_CHANGED,
        system_actor(f"told {canary}"),
        Subject("apikey", "1", "key"),
        reason=f"because of {canary}",
        note=[canary, {"a": canary}],
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_auditevent::text FROM audit_auditevent")
        assert canary not in cursor.fetchone()[0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=600),
    number=st.integers() | st.booleans() | st.floats() | st.none(),
    items=st.lists(st.text(max_size=5) | st.integers()),
)
def test_whatever_people_write_is_recorded_and_verifies(
    database: None, text: str, number: Any, items: list[Any]
) -> None:
    """B87: control characters, surrogates, huge numbers: one row, and the chain holds."""
    with acting("r", "::1"):
        record_now(
            Action.KEY_CHANGED,
            system_actor(text, on_behalf_of=text),
            reason=text,
            value=number,
            text=text,
            items=items,
        )
    assert verify().ok
    row = AuditEvent.objects.latest("seq")
    assert row.actor_label.isprintable()
