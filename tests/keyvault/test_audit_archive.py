"""Old months: closed, proved, dropped, and the chain still holds; one row's proof; witnesses."""

import base64
import gzip
import json
import secrets
import socket
import subprocess
import sys
import threading

import pytest
from django.db import DatabaseError, connections
from django.test import override_settings

from keyvault.audit import archive, checkpoints, sinks
from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent, Checkpoint, CheckpointExport, Partition
from keyvault.audit.verify import verify
from keyvault.core.errors import Conflict
from tests.commands import ROOT, call, manage


@pytest.fixture(autouse=True)
def signing():
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with override_settings(AUDIT_SIGNING_KEY=key, AUDIT_EXPORT_DIR=""):
        yield checkpoints.public_key()


@pytest.fixture(autouse=True)
def first_partition_again(database):
    """Set the partitions back to the one that a fresh installation has."""
    yield
    for name in Partition.objects.order_by("pk").values_list("name", flat=True)[1:]:
        as_owner(f"DROP TABLE IF EXISTS {name}")
    as_owner(
        "DELETE FROM audit_partition WHERE id <> (SELECT min(id) FROM audit_partition)",
        "UPDATE audit_partition SET last_seq = NULL, closed_at = NULL, archived_at = NULL,"
        " began_at = now()",
    )
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT to_regclass('audit_auditevent_first') IS NULL")
        if cursor.fetchone()[0]:
            cursor.execute(
                "CREATE TABLE audit_auditevent_first PARTITION OF audit_auditevent"
                " FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"
            )
            return
        cursor.execute("TRUNCATE audit_auditevent")
        cursor.execute("ALTER TABLE audit_auditevent DETACH PARTITION audit_auditevent_first")
        cursor.execute(
            "ALTER TABLE audit_auditevent ATTACH PARTITION audit_auditevent_first"
            " FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"
        )


def as_owner(*statements):
    with connections["owner"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def write(count=3):
    for number in range(count):
        record_now(Action.KEY_CHECKED, system_actor(f"test {number}"))


def a_month_passes():
    as_owner("UPDATE audit_partition SET began_at = began_at - interval '40 days'")
    return archive.rotate_partition()


def closed_long_ago():
    as_owner("UPDATE audit_partition SET closed_at = closed_at - interval '200 days'")


def test_a_month_is_closed_once_and_the_log_goes_on_in_the_next():
    write(3)
    assert archive.rotate_partition() == "", "the month is not over"
    assert a_month_passes() == "audit_auditevent_first"
    assert archive.rotate_partition() == ""
    write(2)
    parts = list(Partition.objects.order_by("first_seq").values_list("first_seq", "last_seq"))
    assert parts == [(1, 3), (4, None)]
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM audit_auditevent GROUP BY 1")
        assert dict(cursor.fetchall()) == {"audit_auditevent_first": 3, "audit_auditevent_4": 2}
    assert verify().ok
    assert verify().rows == 5


def test_an_empty_month_needs_no_partition_of_its_own():
    assert a_month_passes() == ""
    write(1)
    assert Partition.objects.count() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_auditevent_4",
        "INSERT INTO audit_auditevent_4 SELECT * FROM audit_auditevent_first",
        "DROP TABLE audit_auditevent_first",
        "UPDATE audit_partition SET last_seq = 1",
        "ALTER TABLE audit_auditevent DETACH PARTITION audit_auditevent_first",
    ],
)
def test_the_apps_role_may_roll_and_nothing_else(statement):
    write(3)
    a_month_passes()
    with pytest.raises(DatabaseError), connections["audit"].cursor() as cursor:
        cursor.execute(statement)


def test_a_month_is_archived_proved_and_dropped_and_the_chain_goes_on(tmp_path, signing):
    """B88: a month goes as a whole table, with no row deleted, on record, and still provable."""
    write(4)
    checkpoints.sign_checkpoint()
    a_month_passes()
    closed_long_ago()
    write(2)
    ran = call("archiveaudit", tmp_path, "--json")
    assert ran.code == 0, ran
    (done,) = ran.json
    assert (done["first_seq"], done["last_seq"], done["rows"]) == (1, 4, 4)
    assert AuditEvent.objects.order_by("seq").first().seq == 5
    checkpoints.sign_checkpoint()
    report = verify()
    assert (report.ok, report.rows) == (True, 3)
    assert checkpoints.problem(signing) == ""
    assert call("archiveaudit", tmp_path, "--json").json == []
    assert manage_offline(done["file"], "--public-key", signing).startswith("verified: 4 rows")


def manage_offline(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "scripts/verify_audit.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


def archived_month(tmp_path):
    write(4)
    checkpoints.sign_checkpoint()
    a_month_passes()
    closed_long_ago()
    (partition,) = archive.due(partition_time())
    return archive.archive(partition, tmp_path, "test")


def partition_time():
    from django.utils import timezone

    return timezone.now()


def test_a_forged_gap_is_found(tmp_path):
    """Dropping rows without the record that they were archived is a hole like any other."""
    archived_month(tmp_path)
    write(3)
    as_owner("DELETE FROM audit_auditevent WHERE seq <= 6")
    report = verify()
    assert not report.ok
    assert "row #" in report.problem


def test_nothing_is_dropped_that_no_checkpoint_covers(tmp_path):
    write(3)
    a_month_passes()
    (partition,) = archive.due(partition_time())
    with pytest.raises(Conflict, match="checkpoint"):
        archive.archive(partition, tmp_path, "test")
    assert AuditEvent.objects.count() == 3


def test_nothing_is_dropped_when_a_row_does_not_fit(tmp_path):
    write(3)
    checkpoints.sign_checkpoint()
    a_month_passes()
    as_owner("UPDATE audit_auditevent SET payload = payload || ' ' WHERE seq = 2")
    (partition,) = archive.due(partition_time())
    with pytest.raises(Conflict, match="Row #2"):
        archive.archive(partition, tmp_path, "test")
    assert AuditEvent.objects.count() == 3


def test_an_archive_cut_off_before_the_drop_is_finished_by_the_next(tmp_path):
    write(3)
    checkpoints.sign_checkpoint()
    a_month_passes()
    closed_long_ago()
    as_owner("CREATE VIEW holds AS SELECT * FROM audit_auditevent_first")
    with pytest.raises(DatabaseError):
        archive.archive(archive.due(partition_time())[0], tmp_path, "test")
    assert verify().ok, "archived on record, and still here"
    as_owner("DROP VIEW holds")
    archive.archive(archive.due(partition_time())[0], tmp_path, "test")
    assert AuditEvent.objects.filter(action=Action.AUDIT_ARCHIVED).count() == 1
    assert verify().ok


def test_only_the_owner_of_the_tables_archives(stack, tmp_path):
    ran = manage(stack, "archiveaudit", tmp_path)
    assert (ran.code, "DATABASE_OWNER_URL" in ran.err) == (2, True)


def test_verification_from_a_checkpoint_reads_only_what_follows(signing):
    write(5)
    checkpoints.sign_checkpoint()
    write(2)
    ran = call("verifyaudit", "--public-key", signing, "--since-checkpoint", "--json")
    assert (ran.json["ok"], ran.json["rows"]) == (True, 2)
    as_owner("UPDATE audit_auditevent SET payload = payload || ' ' WHERE seq = 7")
    assert call("verifyaudit", "--public-key", signing, "--since-checkpoint").code == 1
    foreign = base64.b64encode(secrets.token_bytes(32)).decode()
    ran = call("verifyaudit", "--public-key", foreign, "--since-checkpoint")
    assert "does not fit" in ran.err


def test_one_row_is_proved_to_whoever_has_the_public_key(tmp_path, signing):
    write(3)
    checkpoints.sign_checkpoint()
    write(1)
    file = tmp_path / "proof.json"
    file.write_text(call("verifyaudit", "--proof", 2).out)
    assert manage_offline(file, "--public-key", signing).startswith(
        "verified: 2 rows to #3, 1 checkpoints fit"
    )
    said = json.loads(file.read_text())
    said["rows"][0]["payload"] = said["rows"][0]["payload"].replace("test 1", "test 9")
    file.write_text(json.dumps(said))
    assert "NOT VERIFIED" in manage_offline(file, "--public-key", signing, code=1)
    assert "wait a minute" in call("verifyaudit", "--proof", 4).err


@pytest.mark.parametrize("change", ["row", "link", "gap", "signature"])
def test_the_offline_script_finds_what_was_changed(tmp_path, signing, change):
    done = archived_month(tmp_path)
    lines = [json.loads(line) for line in gzip.decompress(done.file.read_bytes()).splitlines()]
    seal = Checkpoint.objects.order_by("pk").first()
    signed = {"text": seal.text, "signature": seal.signature}
    if change == "row":
        lines[1]["payload"] = lines[1]["payload"].replace("test 1", "test 9")
    elif change == "link":
        lines[1]["prev"] = "00" * 32
    elif change == "gap":
        del lines[1]
    else:
        signed["text"] = signed["text"].replace('"seq": 4', '"seq": 3')
    file = tmp_path / "changed.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in [*lines, signed]))
    assert "NOT VERIFIED" in manage_offline(file, "--public-key", signing, code=1)


class Sink:
    """A syslog server over TCP that keeps what it is sent."""

    def __init__(self):
        self.got = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                link, _ = self.socket.accept()
            except OSError:
                return
            with link:
                parts = []
                while part := link.recv(65536):
                    parts.append(part)
                self.got.append(b"".join(parts).decode())


@pytest.fixture
def sink():
    made = Sink()
    yield made
    made.socket.close()


def test_checkpoints_reach_a_syslog_server_and_none_is_missed_while_it_is_away(sink):
    with override_settings(AUDIT_SYSLOG="127.0.0.1:1"):
        write(1)
        checkpoints.sign_checkpoint()
        mark = CheckpointExport.objects.get()
        assert (mark.last_id, mark.error) == (0, "ConnectionRefusedError")
    with override_settings(AUDIT_SYSLOG=sink.address):
        write(1)
        checkpoints.sign_checkpoint()
    assert [message.split(" ", 2)[1] for message in sink.got] == ["<109>1", "<109>1"]
    size, message = sink.got[1].split(" ", 1)
    assert int(size) == len(message.encode())
    said = json.loads(message[message.index("{") :])
    assert json.loads(said["text"])["seq"] == 2
    mark.refresh_from_db()
    assert (mark.last_id, mark.error) == (Checkpoint.objects.latest("pk").pk, "")


def test_a_place_that_had_everything_is_sent_nothing_again(sink):
    with override_settings(AUDIT_SYSLOG=sink.address):
        write(1)
        checkpoints.sign_checkpoint()
        sinks.send_all()
    assert len(sink.got) == 1


def test_without_places_outside_nothing_is_noted():
    write(1)
    checkpoints.sign_checkpoint()
    assert not CheckpointExport.objects.exists()
