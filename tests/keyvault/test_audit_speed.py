"""What makes the audit log fast takes nothing away: parts are checked whole, rows are on disk."""

import pytest
from django.db import connections

from keyvault.audit.verify import verify
from tests.keyvault.test_audit import append, as_owner

PARTS = {
    "nothing": ("SELECT 1", None, ""),
    "a row within a part": (
        "UPDATE audit_auditevent SET payload = replace(payload, '\"ok\"', '\"no\"') WHERE seq = 7",
        7,
        "text was changed",
    ),
    "the last row of a part": (
        "DELETE FROM audit_auditevent WHERE seq = 8",
        9,
        "row #8 is missing",
    ),
    "the first row of a part": (
        "DELETE FROM audit_auditevent WHERE seq = 5",
        6,
        "row #5 is missing",
    ),
    "a whole part": (
        "DELETE FROM audit_auditevent WHERE seq BETWEEN 5 AND 8",
        9,
        "row #5 is missing",
    ),
    "a link between parts": (
        "UPDATE audit_auditevent SET prev = sha256(prev), hash = sha256('\\x01'::bytea ||"
        " int8send(seq) || sha256(prev) || convert_to(payload, 'UTF8')) WHERE seq = 9",
        9,
        "not linked",
    ),
    "the end": ("DELETE FROM audit_auditevent WHERE seq > 9", 10, "rows after #9 are missing"),
}


@pytest.mark.parametrize("what", PARTS)
def test_several_processes_find_what_one_finds(what: str) -> None:
    """P9: a long log is shared out in parts, and nothing hides where they meet."""
    statement, bad, problem = PARTS[what]
    append(11)
    as_owner(statement)
    alone, together = verify(processes=1), verify(processes=2, part=4)
    assert (alone.bad_seq, problem in alone.problem) == (bad, True)
    assert (together.bad_seq, problem in together.problem) == (bad, True)
    assert (together.rows, together.last_seq) == (alone.rows, alone.last_seq)


def on_disk() -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')")
        return int(cursor.fetchone()[0])


def written() -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(cursor.fetchone()[0])


def test_a_row_is_on_disk_before_anything_is_done_because_of_it() -> None:
    """The commit that frees the head of the chain does not wait for the disk; the second one does."""
    for _ in range(5):
        before = written()
        append(1)
        # The row's own text is longer than that.
        assert on_disk() - before > 400


def test_an_append_does_not_change_how_the_next_ones_commit() -> None:
    append(1)
    with connections["audit"].cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
