"""Vault's own log against ours: what was read behind our back is named, in both directions."""

import json
from datetime import UTC, datetime

import pytest
import requests

from keyvault.audit.crosscheck import compare
from keyvault.audit.models import Action, AuditEvent
from keyvault.core.request_context import acting, opened, tag
from keyvault.vault import secret_store
from rotation.models import HumanTask, Rotation, Step
from tests.api_client import Api
from tests.commands import call
from tests.factories import PASSWORD, make_key, show
from tests.keyvault.vault import inspector
from tests.rotation.driving import started
from tests.waiting import until


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


@pytest.fixture
def log(stack):
    """Return a function that gives what Vault wrote down since the test began."""
    before = len(stack.openbao.audit_log.read_text().splitlines())
    return lambda: stack.openbao.audit_log.read_text().splitlines()[before:]


def test_our_own_reads_fit(log, key, people):
    with acting("a" * 32, "test"):
        show(people.owner, key, "looking into it")
    report = compare(log())
    assert report.reads == 1
    assert report.findings == []


def test_a_read_with_another_token_is_named(stack, log, key):
    """The platform's root, or a stolen token: the read is not ours, and key and reader are told."""
    inspector(stack.openbao).secrets.kv.v2.read_secret_version(
        path=f"keys/{key.current.path}",
        mount_point="keyvault",
        raise_on_deleted_version=True,
    )
    (found,) = compare(log()).findings
    assert (found.kind, found.what) == ("foreign", str(key.current))
    assert "operator" in found.who
    assert "127.0.0.1" in found.who


def test_a_forged_tag_counts_for_nothing(stack, log, key):
    client = inspector(stack.openbao)
    requests.get(
        f"{stack.openbao.address}/v1/keyvault/data/keys/{key.current.path}",
        headers={"X-Vault-Token": client.token, "X-Request-Id": f"{'a' * 32}.0123456789abcdef"},
        timeout=5,
    )
    (found,) = compare(log()).findings
    assert found.kind == "foreign"


def test_a_read_of_ours_that_nobody_recorded_is_named(log, key):
    with acting("b" * 32, "test"):
        secret_store.read("keys", key.current.path)
    (found,) = compare(log()).findings
    assert (found.kind, found.what) == ("unrecorded", str(key.current))


def test_a_release_on_record_that_vault_never_saw_is_named(log, key, people):
    """The other direction: one of the two logs is not whole."""
    with acting("c" * 32, "test"):
        show(people.owner, key, "looking into it")
    entries = [json.loads(line) for line in log()]
    (read,) = [
        e
        for e in entries
        if e["type"] == "response"
        and e["request"]["operation"] == "read"
        and "data/keys" in e["request"]["path"]
    ]
    around = []
    for minute, request_id in ((-10, "d"), (10, "e")):
        other = json.loads(json.dumps(read))
        moment = datetime.now(UTC).timestamp() + minute * 60
        other["time"] = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
        other["auth"]["policies"] = ["keyvault-worker"]
        other["request"]["headers"]["x-request-id"] = [tag(request_id * 32)]
        around.append(json.dumps(other))
    (found,) = compare(around).findings
    assert found.kind == "unseen"
    assert "owner" in found.who


def test_broken_lines_are_counted_and_do_no_harm(log, key):
    odd = ["", "{", "[]", "null", '{"type": "response"}', '{"type": "response", "request": 7}']
    report = compare([*odd, *log()])
    assert report.odd_lines == len(odd)
    assert report.findings == []


def test_a_whole_rotation_by_a_real_worker_and_a_fetch_fit(
    stack, log, worker, live_url, vendor, place, people, key
):
    rotation = started(people.operator, key)
    until(lambda: Rotation.objects.filter(pk=rotation.pk, step=Step.DONE).exists(), 40, "the end")
    from keyvault.delivery import tokens

    text = tokens.issue(people.owner, "web", place.application, place.environment)[1].reveal()
    assert requests.get(
        f"{live_url}/api/v1/keys/{key.pk}/secret",
        headers={"Authorization": f"Bearer {text}"},
        timeout=10,
    ).ok
    report = compare(log())
    assert report.reads > 4
    # The tests' own process plays web and worker both, under a role of its own.
    assert [one for one in report.findings if "operator" not in one.who] == []


def test_the_command_tells_a_person_once_and_ends_with_1(stack, tmp_path, log, key, people):
    with acting("b" * 32, "test"):
        secret_store.read("keys", key.current.path)
    file = tmp_path / "audit.log"
    file.write_text("\n".join(log()))
    for _ in range(2):
        ran = call("crosscheckaudit", file, "--json")
        assert (ran.code, ran.json["findings"][0]["kind"]) == (1, "unrecorded")
    task = HumanTask.objects.get(kind=HumanTask.Kind.FINDING, closed_at=None)
    assert "without a row in our audit log" in task.text
    assert AuditEvent.objects.filter(action=Action.AUDIT_COMPARED).count() == 2
    assert call("crosscheckaudit", tmp_path / "none").code == 2


@pytest.mark.pure
def test_only_our_own_tags_open():
    assert opened(tag("f" * 32)) == "f" * 32
    assert opened(tag("")) == "none"
    for odd in ("", ".", "x", tag("f" * 32)[:-1], "g" + tag("f" * 32)[1:], "é.é"):
        assert opened(odd) is None


def test_api_reveals_carry_their_request(log, key, people):
    answer = Api(people.owner).post(
        f"keys/{key.pk}/reveal", {"password": PASSWORD, "reason": "looking into it"}
    )
    assert answer.status == 200
    assert compare(log()).findings == []
