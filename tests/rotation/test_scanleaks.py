"""Our own keys in files: found in every dress, with file and line, and never a stranger's."""

import base64
import gzip
import json
import zipfile
from urllib.parse import quote

import pytest

from keyvault.audit.models import Action, AuditEvent
from keyvault.inventory.leak_scan import index, scan
from keyvault.models import KeyVersion
from rotation.models import Reason, Rotation
from tests.commands import call, manage
from tests.factories import make_key, secret_of
from tests.rotation.driving import drive, started


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="leaky")


@pytest.fixture
def secret(key):
    return secret_of(key.current)


def found_in(folder):
    report = scan([folder], index(KeyVersion.objects.all()))
    return sorted((hit.file.removeprefix(f"{folder}/"), hit.line, hit.form) for hit in report.hits)


def in_zip(file, text):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app/settings.py", text)


DRESSES = {
    "bare": (lambda s: s.encode(), "as it is"),
    "assignment": (lambda s: f'KEY = "{s}"\n'.encode(), "as it is"),
    "glued to other characters": (lambda s: f"xx{s}yy&z=1".encode(), "as it is"),
    "header": (lambda s: f"Authorization: Bearer {s}\r\n".encode(), "as it is"),
    "url": (lambda s: f"https://x.example/?k={quote(s, safe='')}".encode(), "as it is"),
    "base64": (lambda s: b"data: " + base64.b64encode(s.encode()), "base64"),
    "basic auth": (lambda s: b"Basic " + base64.b64encode(b"user:" + s.encode()), "base64"),
    "base64 for urls": (lambda s: base64.urlsafe_b64encode(b"a" + s.encode()), "base64"),
    "utf-16": (lambda s: f"key={s}".encode("utf-16"), "UTF-16"),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_it_finds_a_key_in_every_dress(tmp_path, secret, dress):
    wear, form = DRESSES[dress]
    (tmp_path / "file").write_bytes(b"first line\nsecond line\n" + wear(secret))
    assert ("file", 3, form) in found_in(tmp_path) or form == "UTF-16"
    assert form in {hit[2] for hit in found_in(tmp_path)}


def test_it_finds_percent_encoded_keys(tmp_path, vendor, place, people, secret):
    escaped = "".join(f"%{ord(letter):02x}" for letter in secret)
    (tmp_path / "log").write_text(f"\n\nGET /?key={escaped} HTTP/1.1")
    assert found_in(tmp_path) == [("log", 1, "percent-encoded")] or found_in(tmp_path) == [
        ("log", 3, "percent-encoded")
    ]


def test_it_looks_into_archives_and_across_the_border_of_pieces(tmp_path, secret):
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) - 10) + b"\n" + secret.encode() + b"\n")
    with gzip.open(tmp_path / "old.log.gz", "wt") as log:
        log.write(f"a\n{secret}\n")
    in_zip(tmp_path / "build.zip", f"\n\nKEY={secret}")
    assert found_in(tmp_path) == [
        ("big", 2, "as it is"),
        ("build.zip!app/settings.py", 3, "as it is"),
        ("old.log.gz", 2, "as it is"),
    ]


def test_it_names_what_it_could_not_search(tmp_path, secret):
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b" + b"no archive at all")
    report = scan([tmp_path], index(KeyVersion.objects.all()))
    assert [name.split(" ")[0] for name in report.not_searched] == [f"{tmp_path}/broken.gz"]


def test_it_is_quiet_about_what_is_not_ours(tmp_path, secret):
    stranger = secret[:-5] + ("A" if secret[-5] != "A" else "B") + secret[-4:]
    (tmp_path / "file").write_text(f"{stranger}\n{secret[:-1]}\n{secret[1:]}\n")
    assert found_in(tmp_path) == []


def test_the_command_says_key_file_and_line_and_no_secret(stack, tmp_path, key, secret, people):
    (tmp_path / "notes.txt").write_text(f"one\ntwo {secret}\n")
    ran = manage(stack, "scanleaks", str(tmp_path))
    assert ran.code == 1, ran
    assert "leaky" in ran.out
    assert "notes.txt:2" in ran.out
    assert secret not in ran.out + ran.err
    event = AuditEvent.objects.get(action=Action.VERSION_LEAKED)
    assert event.key_id == key.pk
    assert "notes.txt:2" in event.payload
    assert secret not in event.payload
    assert not Rotation.objects.exists()


def test_a_tree_without_our_keys_ends_with_0(stack, tmp_path, key, people):
    (tmp_path / "notes.txt").write_text("nothing here\n")
    assert manage(stack, "scanleaks", str(tmp_path)).code == 0
    assert manage(stack, "scanleaks", str(tmp_path / "absent")).code == 2


def test_rotate_withdraws_the_live_key_and_leaves_a_dead_one(
    stack, tmp_path, vendor, place, people, key, secret
):
    drive(started(people.operator, key))
    key.refresh_from_db()
    (tmp_path / "a").write_text(f"{secret}\n")
    ran = manage(stack, "scanleaks", str(tmp_path), "--rotate", "--json")
    assert json.loads(ran.out)["found"][0]["state"] == "deleted"
    assert Rotation.objects.count() == 1
    (tmp_path / "a").write_text(f"{secret}\n{secret_of(key.current)}\n")
    ran = manage(stack, "scanleaks", str(tmp_path), "--rotate", "--json")
    assert [row["state"] for row in json.loads(ran.out)["found"]] == ["deleted", "current"]
    assert Rotation.objects.latest("pk").reason == Reason.LEAK


def test_standard_input_is_searched(stack, key, secret, people):
    ran = manage(stack, "scanleaks", "-", stdin=f"diff\n+{secret}\n")
    assert ran.code == 1
    assert "standard input:2" in ran.out


def test_a_viewer_of_nothing_finds_nothing(tmp_path, key, secret, people):
    """What one may not know of is not told by a scan either."""
    (tmp_path / "a").write_text(secret)
    assert call("scanleaks", tmp_path, "--by", people.outsider.email).code == 0
    assert call("scanleaks", tmp_path, "--by", people.viewer.email).code == 1
