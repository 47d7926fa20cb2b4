"""Signed checkpoints: what the chain alone cannot show, they do."""

import base64
import io
import json
import secrets

import pytest
from django.db import ProgrammingError, connections
from django.test import override_settings

from keyvault.audit import checkpoints, export
from keyvault.audit.log import record_now, system_actor
from keyvault.audit.models import Action, AuditEvent, Checkpoint
from keyvault.audit.verify import row_hash, verify


@pytest.fixture(autouse=True)
def signing(tmp_path):
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with override_settings(AUDIT_SIGNING_KEY=key, AUDIT_EXPORT_DIR=str(tmp_path)):
        yield tmp_path / checkpoints.EXPORT_NAME


def write(count=3):
    for number in range(count):
        record_now(Action.KEY_CHECKED, system_actor(f"test {number}"))


def test_a_quiet_log_is_not_sealed_twice():
    write()
    assert checkpoints.seal().seq == 3
    assert checkpoints.seal() is None
    assert checkpoints.problem(checkpoints.public_key()) == ""


def test_a_rewrite_of_the_whole_chain_is_noticed():
    """The chain of a forger verifies, since its hashes need no key; the checkpoint does not fit."""
    write()
    checkpoints.seal()
    prev = bytes(32)
    with connections["owner"].cursor() as cursor:
        for event in AuditEvent.objects.order_by("seq"):
            said = {**json.loads(event.payload), "actor_label": "somebody else"}
            text = json.dumps(said)
            digest = row_hash(event.seq, prev, text)
            cursor.execute(
                "UPDATE audit_auditevent SET payload = %s, actor_label = 'somebody else',"
                " prev = %s, hash = %s WHERE seq = %s",
                [text, prev, digest, event.seq],
            )
            prev = digest
        cursor.execute("UPDATE audit_chainhead SET hash = %s", [prev])
    assert verify().ok
    assert "is not the one that was signed" in checkpoints.problem(checkpoints.public_key())


def test_a_truncated_tail_is_noticed():
    write()
    checkpoints.seal()
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM audit_auditevent WHERE seq = 3")
        cursor.execute(
            "UPDATE audit_chainhead SET seq = 2, hash = (SELECT hash FROM"
            " audit_auditevent WHERE seq = 2)"
        )
    assert verify().ok
    assert "row #3" in checkpoints.problem(checkpoints.public_key())


def test_a_checkpoint_removed_from_the_database_is_missed(signing):
    write()
    checkpoints.seal()
    write(1)
    checkpoints.seal()
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM audit_checkpoint WHERE seq = 4")
    assert checkpoints.problem(checkpoints.public_key()) == ""
    assert "line 2" in checkpoints.problem(checkpoints.public_key(), signing)


def test_a_foreign_signature_is_refused():
    write()
    checkpoints.seal()
    other = base64.b64encode(secrets.token_bytes(32)).decode()
    with override_settings(AUDIT_SIGNING_KEY=other):
        assert "signature" in checkpoints.problem(checkpoints.public_key())


def test_the_app_can_neither_change_nor_remove_a_checkpoint():
    write()
    checkpoints.seal()
    for statement in ("UPDATE audit_checkpoint SET text = ''", "DELETE FROM audit_checkpoint"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            connections["audit"].cursor().execute(statement)
    assert Checkpoint.objects.count() == 1


def test_without_a_key_nothing_is_signed():
    with override_settings(AUDIT_SIGNING_KEY="short"), pytest.raises(checkpoints.NoSigningKey):
        checkpoints.signing_key()


def test_an_export_verifies_without_the_database():
    write()
    out = io.StringIO()
    assert export.write_json_lines(out) == 3
    prev = bytes(32)
    for line in out.getvalue().splitlines():
        row = json.loads(line)
        assert bytes.fromhex(row["prev"]) == prev
        prev = row_hash(row["seq"], prev, row["payload"])
        assert row["hash"] == prev.hex()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\0x"])
def test_no_cell_is_a_formula(text):
    """B70: a name that a spreadsheet would run stays a text."""
    assert export.safe_cell(text) == "'" + text
    assert export.safe_cell("plain") == "plain"


def test_the_csv_keeps_rows_whole():
    record_now(Action.KEY_CHECKED, system_actor('=HYPERLINK("x")'), reason='a "quoted"\nline')
    out = io.StringIO()
    assert export.write_csv(out) == 1
    assert out.getvalue().count("\r\n") == 2
