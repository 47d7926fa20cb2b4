"""Signed checkpoints: what the chain alone cannot show, they do."""

import base64
import io
import json
import secrets

import pytest
from django.db import ProgrammingError, connections
from django.test import override_settings

from keyvault.audit import checkpoints, export
from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent, Checkpoint
from keyvault.audit.signing import NoSigningKey, signed_by, signer
from keyvault.audit.tasks import seal
from keyvault.audit.verify import row_hash, verify
from keyvault.vault import secret_store
from tests.keyvault.vault import acting_as, inspector, vault_at


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
    assert checkpoints.sign_checkpoint().seq == 3
    assert checkpoints.sign_checkpoint() is None
    assert checkpoints.problem(checkpoints.public_key()) == ""


def test_a_rewrite_of_the_whole_chain_is_noticed():
    """The chain of a forger verifies, since its hashes need no key; the checkpoint does not fit."""
    write()
    checkpoints.sign_checkpoint()
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
    checkpoints.sign_checkpoint()
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
    checkpoints.sign_checkpoint()
    write(1)
    checkpoints.sign_checkpoint()
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM audit_checkpoint WHERE seq = 4")
    assert checkpoints.problem(checkpoints.public_key()) == ""
    assert "line 2" in checkpoints.problem(checkpoints.public_key(), signing)


def test_a_foreign_signature_is_refused():
    write()
    checkpoints.sign_checkpoint()
    other = base64.b64encode(secrets.token_bytes(32)).decode()
    with override_settings(AUDIT_SIGNING_KEY=other):
        assert "signature" in checkpoints.problem(checkpoints.public_key())


def test_the_app_can_neither_change_nor_remove_a_checkpoint():
    write()
    checkpoints.sign_checkpoint()
    for statement in ("UPDATE audit_checkpoint SET text = ''", "DELETE FROM audit_checkpoint"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            connections["audit"].cursor().execute(statement)
    assert Checkpoint.objects.count() == 1


def test_without_a_key_nothing_is_signed():
    with override_settings(AUDIT_SIGNING_KEY="short"), pytest.raises(NoSigningKey):
        signer()
    assert seal() is None, "the task says so and goes on"


@pytest.fixture
def transit(stack, monkeypatch):
    """Let a key of OpenBao sign, and be a worker with a worker's policy."""
    client = inspector(stack.openbao)
    if "transit/" not in client.sys.list_mounted_secrets_engines()["data"]:
        client.sys.enable_secrets_engine("transit", "transit")
        client.secrets.transit.create_key("keyvault-audit", key_type="ed25519")
    with (
        override_settings(AUDIT_TRANSIT_KEY="transit/keyvault-audit", AUDIT_SIGNING_KEY=""),
        acting_as(stack.openbao, "worker", monkeypatch),
    ):
        yield client


def test_a_key_that_stays_in_vault_signs_in_place_of_the_file(transit, stack, monkeypatch):
    """TM-5: whoever takes over a worker takes no signing key away."""
    write()
    sealed = checkpoints.sign_checkpoint()
    public = checkpoints.public_key()
    assert signed_by(public, sealed.text, sealed.signature)
    assert checkpoints.problem(public) == ""
    transit.secrets.transit.rotate_key("keyvault-audit")
    write(1)
    checkpoints.sign_checkpoint()
    assert checkpoints.public_key() == public, "rotating it there makes no checkpoint unverifiable"
    assert checkpoints.problem(public) == ""
    with pytest.raises(secret_store.StoreDenied):
        secret_store.transit_sign("transit", "another", b"x")
    with acting_as(stack.openbao, "web", monkeypatch), pytest.raises(secret_store.StoreDenied):
        signer().sign("x")


def test_after_a_change_of_the_key_both_verify_what_each_signed(transit):
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    write()
    with override_settings(AUDIT_TRANSIT_KEY="", AUDIT_SIGNING_KEY=key):
        checkpoints.sign_checkpoint()
        former = checkpoints.public_key()
    write(1)
    checkpoints.sign_checkpoint()
    present = checkpoints.public_key()
    assert checkpoints.problem(f"{former},{present}") == ""
    assert checkpoints.problem(f"{present},{former}") == ""
    for alone in (former, present):
        assert "signature does not fit" in checkpoints.problem(alone)
    with pytest.raises(ValueError):
        checkpoints.problem(f"{present},")


def test_while_vault_is_away_nothing_is_signed_and_the_next_checkpoint_covers_it(transit):
    write()
    with vault_at("http://127.0.0.1:9"):
        seal()
    assert not Checkpoint.objects.exists()
    seal()
    assert Checkpoint.objects.get().seq == 3


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
