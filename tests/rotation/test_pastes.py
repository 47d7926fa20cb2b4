"""F3, F8, B07: whatever cuts a paste off or refuses it, no key is stuck, no copy stays, and people know."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from django.conf import settings
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from keyvault.audit.log import AuditUnavailable
from keyvault.core.errors import Conflict, KeyServiceError
from keyvault.core.secret import Secret
from keyvault.inventory import accounts, keys, versions
from keyvault.inventory.keys import NewKey
from keyvault.inventory.stored_secrets import SETTLED_AFTER
from keyvault.models import ApiKey, KeyVersion, OrphanedSecret, VendorAccount, VersionState
from keyvault.vault import secret_store
from rotation import orphaned_secrets
from rotation.engine import cleanup, manual_keys
from rotation.models import HumanTask, Rotation, Step, WaitingFor
from rotation.recovery import findings, reconciliation, restore
from tests.api_client import broken_audit, sign_in
from tests.conftest import web
from tests.factories import make_key, secret_of
from tests.keyvault.vault import acting_as, inspector
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step
from tests.waiting import until


@pytest.fixture(autouse=True)
def nothing_left_in_vault(people):
    for path in secret_store.list_paths("keys"):
        secret_store.destroy("keys", path)


@pytest.fixture
def key(vendor, place, people):
    place.manual_account.settings = {"steady_spacing_seconds": 0.05}
    place.manual_account.save()
    return make_key(vendor, place, people.owner, manual=True)


@pytest.fixture
def rotation(people, key):
    """Return a rotation that waits for a person to paste a key."""
    return drive(started(people.operator, key))


def fresh(vendor, place):
    return vendor.create_key(place.vendor_manual["id"], label="made by hand")["key"]


def lying():
    """Return the paths in Vault that no version names."""
    named = {str(path) for path in KeyVersion.objects.values_list("path", flat=True)}
    return secret_store.list_paths("keys") - named


def age():
    OrphanedSecret.objects.update(since=timezone.now() - SETTLED_AFTER - timedelta(seconds=1))


def told():
    return HumanTask.objects.filter(about__startswith="lost:", closed_at=None)


def new_key(place, name):
    return NewKey(place.manual_account, place.environment, name, place.application)


def strand(key, text):
    """Leave what a release before this one left when it died between its two commits."""
    version = versions.draft_version(key, Secret(text), source="pasted", added_by=None)
    secret_store.write_once(
        "keys", version.path, {"secret": text, "vendor_id": "", **versions.owner_labels(key)}
    )
    versions.save_next(version)
    return version


class Browser:
    """A signed-in person's browser at a live server."""

    def __init__(self, url, member):
        client = sign_in(Client(), member)
        self.url, self.session = url, requests.Session()
        self.session.cookies.set(
            settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value
        )
        self.session.get(f"{url}/", timeout=10)

    def post(self, path, body):
        token = self.session.cookies.get(settings.CSRF_COOKIE_NAME, "")
        return self.session.post(
            f"{self.url}/api/v1/{path}", json=body, headers={"X-CSRFToken": token}, timeout=20
        )


def waits_for_a_lock():
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


def test_a_web_process_killed_in_the_middle_of_a_paste_leaves_nothing_stuck(
    stack, vendor, place, people, key, rotation
):
    """F3: SIGKILL of gunicorn while the paste waits for the rotation's row."""
    text = fresh(vendor, place)
    task = HumanTask.objects.get(rotation=rotation, kind="paste")
    process, url = web(stack)
    try:
        person = Browser(url, people.operator)

        def paste():
            with pytest.raises(requests.RequestException):
                person.post(f"tasks/{task.pk}/complete", {"secret": text})

        thread = threading.Thread(target=paste)
        with transaction.atomic():
            Rotation.objects.select_for_update().get(pk=rotation.pk)
            thread.start()
            until(waits_for_a_lock, what="the paste to wait for the rotation")
            process.kill()
            thread.join(20)
        assert not thread.is_alive()
        until(lambda: not waits_for_a_lock(), what="its connection to end")
    finally:
        process.kill()
    assert not KeyVersion.objects.filter(state="pending").exists()
    assert len(lying()) == 1
    assert reconciliation.reconcile().findings == [], "a moment ago: it may still be under way"
    manual_keys.paste_for(people.operator, rotation, text)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    age()
    orphaned_secrets.destroy_all()
    assert not lying()
    assert not told().exists(), "the same key was pasted again"


def test_a_paste_that_was_cut_off_and_not_repeated_is_told(
    stack, vendor, place, people, key, rotation, monkeypatch
):
    """B07: its key lives on at the vendor; what is stored, what is not and what to do are said."""
    text = fresh(vendor, place)
    with acting_as(stack.openbao, "web", monkeypatch):
        draft = versions.draft_version(key, Secret(text), source="pasted", added_by=people.operator)
        versions.put_secret(draft, Secret(text), key)
    age()
    with acting_as(stack.openbao, "worker", monkeypatch):
        assert orphaned_secrets.destroy_all() == 1
    assert not lying()
    task = told().get()
    assert task.key == key
    for part in (text[-4:], str(key), "lives on at the vendor", "Paste it again"):
        assert part in task.text
    assert text not in task.text
    manual_keys.paste_for(people.operator, rotation, text)
    orphaned_secrets.destroy_all()
    assert not told().exists()


def test_a_version_stranded_by_an_older_release_is_put_in_reserve_and_used(
    vendor, place, people, key, rotation
):
    """F3, older data: the sweep finds a pending version that no rotation names."""
    version = strand(key, fresh(vendor, place))
    cleanup.sweep()
    version.refresh_from_db()
    assert version.state == "pending", "its request may still be between its two commits"
    KeyVersion.objects.filter(pk=version.pk).update(created_at=timezone.now() - timedelta(hours=1))
    cleanup.sweep()
    version.refresh_from_db()
    assert version.state == "standby"
    drive(rotation, lambda r: r.step == Step.VERIFY)
    assert rotation.new_version == version


def test_another_key_is_pasted_over_a_stranded_one(vendor, place, people, key, rotation):
    """F3: this was refused with 409 for ever."""
    version = strand(key, fresh(vendor, place))
    added = manual_keys.paste_for(people.operator, rotation, fresh(vendor, place))
    version.refresh_from_db()
    rotation.refresh_from_db()
    assert (version.state, rotation.new_version) == ("standby", added.version)


def test_a_standby_beside_a_stranded_version_raises_nothing_in_the_worker(
    vendor, place, people, key, rotation
):
    """F3: IntegrityError version_one_pending at every try; now the stranded one gives way."""
    strand(key, fresh(vendor, place))
    manual_keys.add_standby(people.operator, key, fresh(vendor, place))
    drive(rotation, lambda r: r.step == Step.VERIFY)
    assert rotation.new_version is not None
    states = KeyVersion.objects.filter(key=key).values_list("state", flat=True)
    assert sorted(states) == ["current", "previous", "standby"]


def test_a_rule_of_the_database_that_nothing_mends_is_explained(vendor, place, people):
    """F3, the kind: the vendor hands out a secret that is another key's already."""
    other = make_key(vendor, place, people.owner, manual=True)
    rotation = started(people.operator, make_key(vendor, place, people.owner))
    made = {"key": secret_of(other.current), "id": "key_twice"}
    body = {"success": True, "data": made}
    vendor.fault("create", kind="execute_then_status", status=201, body=body)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert "version_live_secret_once" in rotation.waiting_text
    assert "applications keep the key" in rotation.waiting_text


@pytest.mark.parametrize("doors", ["register", "standby"])
def test_one_secret_given_many_times_at_once_leaves_one_copy(
    stack, vendor, place, people, key, doors
):
    """F8: one is recorded, each other is refused, and Vault keeps no copy of the refused."""
    text, ready = fresh(vendor, place), threading.Barrier(6)

    def give(number):
        ready.wait(10)
        try:
            if doors == "register":
                keys.register_key(people.owner, new_key(place, f"race-{number}"), text)
            else:
                manual_keys.add_standby(people.owner, key, text)
        except KeyServiceError as error:
            return error.code
        finally:
            connection.close()
            connections["audit"].close()
        return ""

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(give, range(6)))
    assert codes.count("") == 1, codes
    assert set(codes) <= {"", "conflict", "duplicate"}
    assert all(one.kind == findings.COPY_OF_SECRET for one in reconciliation.reconcile().findings)
    orphaned_secrets.destroy_all()
    assert not lying(), "what was refused is given up at once and goes with the next sweep"
    assert not told().exists()
    assert not OrphanedSecret.objects.exists()


def test_a_registration_whose_audit_row_fails_and_is_repeated_leaves_one_copy(
    vendor, place, people
):
    """F8: nothing is recorded the first time, and its copy goes."""
    text = fresh(vendor, place)
    with broken_audit(), pytest.raises(AuditUnavailable):
        keys.register_key(people.owner, new_key(place, "mine"), text)
    assert not ApiKey.objects.exists()
    keys.register_key(people.owner, new_key(place, "mine"), text)
    assert len(lying()) == 1
    orphaned_secrets.destroy_all()
    assert not lying()
    assert not told().exists()


def test_the_comparison_never_advises_to_delete_a_key_that_is_on_record(vendor, place, people, key):
    """F8, older data: a copy without a row and without a note; the key that it opens is ours."""
    text = secret_of(key.current)
    path = uuid.uuid4()
    secret_store.write_once("keys", path, {"secret": text, "key_name": "Influtics / x / race-3-5"})
    (finding,) = reconciliation.reconcile().findings
    assert finding.kind == findings.COPY_OF_SECRET
    assert (finding.key, finding.version) == (key, key.current)
    assert "copy of the current secret" in finding.what
    assert str(path) in finding.what
    assert "nothing else" in finding.do
    assert "delete the key" not in finding.do.lower()


def test_an_account_that_is_refused_leaves_no_credential(stack, vendor, place, people, monkeypatch):
    """F8, the kind: a used name; the worker's policy lets it destroy the credential."""
    credential = place.vendor_api["management_credential"]
    before = lying_credentials(stack)
    with acting_as(stack.openbao, "web", monkeypatch), pytest.raises(Conflict):
        accounts.add_account(
            people.owner,
            name=place.api_account.name,
            provider="sandbox",
            base_url=vendor.url,
            management_credential=credential,
        )
    assert len(lying_credentials(stack)) == len(before) + 1
    with acting_as(stack.openbao, "worker", monkeypatch):
        orphaned_secrets.destroy_all()
    assert lying_credentials(stack) == before
    assert VendorAccount.objects.get(pk=place.api_account.pk).management_path


def lying_credentials(stack):
    kv = inspector(stack.openbao).secrets.kv.v2
    return set(kv.list_secrets("accounts", mount_point="keyvault")["data"]["keys"])


def test_a_cut_off_secret_that_a_person_adopts_is_kept(stack, vendor, place, people, key):
    """F8: adopted within its quarter of an hour, it is destroyed no more."""
    text = fresh(vendor, place)
    draft = versions.draft_version(key, Secret(text), source="pasted", added_by=None)
    versions.put_secret(draft, Secret(text), key)
    age()
    vendor.delete_key_by_secret(secret_of(key.current))
    (finding,) = [f for f in reconciliation.reconcile().findings if f.subject == str(draft.path)]
    restore.adopt(people.owner, finding.id)
    assert not OrphanedSecret.objects.exists()
    orphaned_secrets.destroy_all()
    key.refresh_from_db()
    assert secret_of(key.current) == text


def test_a_standby_whose_secret_vault_lost_stops_no_rotation(vendor, place, people, key, rotation):
    """F3, the kind: it is put away, its key at the vendor is told, and the next one is taken."""
    text = fresh(vendor, place)
    lost = manual_keys.add_standby(people.operator, key, text).version
    secret_store.destroy("keys", lost.path)
    good = manual_keys.add_standby(people.operator, key, fresh(vendor, place)).version
    step(rotation)
    lost.refresh_from_db()
    drive(rotation, lambda r: r.step == Step.VERIFY)
    assert rotation.new_version == good
    assert lost.state == VersionState.DISCARDED
    assert "delete it there" in told().get().text
    vendor.delete_key_by_secret(text)
    assert_all_is_well(vendor, place, quiet=False)


def test_what_a_row_names_is_never_destroyed_as_left_over(vendor, place, people, key):
    """F8: whatever put it on the list, a secret that is on record stays."""
    OrphanedSecret.objects.create(area="keys", path=key.current.path)
    age()
    assert orphaned_secrets.destroy_all() == 1
    assert secret_of(key.current)
