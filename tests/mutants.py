"""Prove the guards: take each one out of a copy of the code and see its tests fail.

`make mutants` runs all, `python -m tests.mutants NAME …` some. A guard whose removal no test
notices is named, and the exit status is 1.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mutants_access import ACCESS
from tests.mutants_planning import PLANNING

ROOT = Path(__file__).resolve().parent.parent
_SKIP = shutil.ignore_patterns(".git", ".run", ".venv", "*_cache", "__pycache__", ".hypothesis")


@dataclass(frozen=True)
class Mutant:
    """A guard: where it stands, what stands there instead, and the tests that must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "fence",
        "rotation/claims.py",
        "filter(pk=self.rotation.pk, fence=self.fence).update",
        "filter(pk=self.rotation.pk).update",
        "tests/rotation/test_workflow.py -k stale",
    ),
    Mutant(
        "fence of a transaction",
        "rotation/claims.py",
        "WHERE id = %s AND fence = %s FOR NO KEY UPDATE",
        "WHERE id = %s AND %s > 0 FOR NO KEY UPDATE",
        "tests/rotation/test_workflow.py -k stale",
    ),
    Mutant(
        "lock of a transaction",
        "rotation/claims.py",
        " FOR NO KEY UPDATE",
        "",
        "tests/rotation/test_workflow.py -k holds_the_row",
    ),
    Mutant(
        "cancel read under the lock",
        "rotation/claims.py",
        "            (self.rotation.cancelling,) = row\n",
        "",
        "tests/rotation/test_in_place.py -k just_before_the_call",
    ),
    Mutant(
        "claim",
        "rotation/claims.py",
        "AND (claimed_until IS NULL OR claimed_until < now())",
        "",
        "tests/rotation/test_workflow.py -k claimed_again",
    ),
    Mutant(
        "intent before create",
        "rotation/steps/generate.py",
        "    if intent:\n        return creation.recover(claim, intent)\n",
        "    if intent:\n        intent.delete()\n",
        "tests/rotation/test_automatic.py -k without_an_answer",
    ),
    Mutant(
        "mark against late writers",
        "rotation/steps/creation.py",
        "            secret_store.write_once(versions.AREA, intent.path, _ABANDONED)\n",
        "            pass\n",
        "tests/rotation/test_crashes.py -k late_worker",
    ),
    Mutant(
        "list lag",
        "rotation/steps/creation.py",
        "    if not found and clock.now() - since < lag:",
        "    if False:",
        "tests/rotation/test_automatic.py -k shows_late",
    ),
    Mutant(
        "delete preconditions",
        "rotation/steps/retire.py",
        "    if trouble:\n        return trouble  # also",
        "    if False:\n        return trouble  # also",
        "tests/rotation/test_automatic.py -k refusal_after",
    ),
    Mutant(
        "current version under lock",
        "rotation/steps/retire.py",
        "if current != rotation.new_version_id or current == old.pk:",
        "if False:",
        "tests/rotation/test_workflow.py -k set_back_by_hand",
    ),
    Mutant(
        "adoption",
        "rotation/steps/switch.py",
        "    if not adoption.done:\n        return _wait",
        "    if False:\n        return _wait",
        "tests/rotation/test_consumers.py -k by_name",
    ),
    Mutant(
        "old key in use",
        "rotation/adoption.py",
        "    if vendor_tells and not quiet and last_used and _used_since(rotation, last_used):",
        "    if False:",
        "tests/rotation/test_automatic.py -k still_in_use",
    ),
    Mutant(
        "possession proof",
        "rotation/consumers.py",
        "    if hmac.compare_digest(wanted.encode(), proof.encode()):",
        "    if True:",
        "tests/rotation/test_consumers.py -k old_secret",
    ),
    Mutant(
        "propagation window",
        "rotation/steps/generate.py",
        "    if clock.now() - since < timedelta(seconds=window):",
        "    if False:",
        "tests/rotation/test_automatic.py -k starts_late",
    ),
    Mutant(
        "cannot tell is no refusal",
        "rotation/providers/influtics.py",
        "        code in REFUSING_CODES\n        and answer.status in _REFUSING_STATUSES\n"
        '        and body.get("success") is False\n',
        "        answer.status != 200\n",
        "tests/rotation/providers/test_influtics.py",
    ),
    Mutant(
        "cannot tell takes nothing back",
        "rotation/steps/switch.py",
        "    if verdict.answer == CANNOT_TELL:\n"
        "        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)\n"
        "    if verdict.answer == REFUSED:\n",
        "    if verdict.answer in (CANNOT_TELL, REFUSED):\n",
        "tests/rotation/test_automatic.py -k takes_nothing_back",
    ),
    Mutant(
        "proof of refusal",
        "rotation/steps/retire.py",
        "    if verdict.answer == REFUSED:\n        return _count_refusal(claim, version)\n",
        "    return None\n",
        "tests/rotation/test_automatic.py -k stops_late",
    ),
    Mutant(
        "one open rotation",
        "rotation/workflow.py",
        "    except IntegrityError:\n        return _join(by, key, reason), False\n",
        "    except ZeroDivisionError:\n        return _join(by, key, reason), False\n",
        "tests/rotation/test_workflow.py -k twenty",
    ),
    Mutant(
        "cancel wins",
        "rotation/settling.py",
        "        if _overtaken_by_cancel(held, said):",
        "        if False:",
        "tests/rotation/test_workflow.py -k cancel_during",
    ),
    Mutant(
        "wake-up while busy",
        "rotation/settling.py",
        "default=Now(), output_field",
        "default=Value(None), output_field",
        "tests/rotation/test_workflow.py -k event_during",
    ),
    Mutant(
        "other account",
        "rotation/steps/generate.py",
        "    if verdict.answer == VALID and verdict.facts != facts:",
        "    if False:",
        "tests/rotation/test_automatic.py -k another_account",
    ),
    Mutant(
        "deaths are counted",
        "rotation/workflow.py",
        "    if rotation.lost_claims >= _MOST_LOST_CLAIMS:",
        "    if False:",
        "tests/rotation/test_crashes.py -k again_and_again",
    ),
    Mutant(
        "audit before fetch",
        "keyvault/fetching.py",
        "        record_now(Action.SECRET_FETCHED, token_actor(token), key, version=version.number, **how)\n",
        "",
        "tests/keyvault/test_fetch_api.py",
    ),
    Mutant(
        "storm cap",
        "rotation/policies.py",
        "SELECT id FROM placed WHERE place <= %s",
        "SELECT id FROM placed WHERE %s > 0",
        "tests/rotation/test_policies.py -k storm",
    ),
    Mutant(
        "due once",
        "rotation/policies.py",
        ".filter(pk=policy_id, enabled=True, next_run_at__lte=timezone.now())",
        ".filter(pk=policy_id)",
        "tests/rotation/test_policies.py -k seen_as_due",
    ),
    Mutant(
        "labels of our own",
        "rotation/steps/creation.py",
        "-{path.hex[:16]}",
        "",
        "tests/rotation/test_automatic.py -k like_numbered",
    ),
    Mutant(
        "a standby is refused twice",
        "rotation/steps/generate.py",
        "        if before != REFUSED:",
        "        if False:",
        "tests/rotation/test_manual.py -k one_node",
    ),
    Mutant(
        "the wrong key deleted by hand",
        "rotation/steps/retire.py",
        "        if verdict.answer == VALID and _wrong_one_deleted(claim, intent, version):",
        "        if False:",
        "tests/rotation/test_manual.py -k wrong_key",
    ),
    Mutant(
        "no task to delete a key that is needed",
        "rotation/settling.py",
        "        if outcome.step == Step.ROLL_BACK:",
        "        if False:",
        "tests/rotation/test_manual.py -k needed_again",
    ),
    Mutant(
        "keys without a home are taken back",
        "rotation/steps/creation.py",
        "        return _take_back(claim, intent, created, error)",
        "        raise error",
        "tests/rotation/test_outages.py -k taken_back",
    ),
    Mutant(
        "one probe in an outage",
        "rotation/outages.py",
        "    return Hold(until=outage.next_try_at) if outage else None",
        "    return None",
        "tests/rotation/test_storms.py -k few_calls",
    ),
    Mutant(
        "one alert for an outage",
        "rotation/settling.py",
        "    if known or rotation.attempt < TELL_A_PERSON_AT:",
        "    if rotation.attempt < TELL_A_PERSON_AT - 4:",
        "tests/rotation/test_storms.py -k few_calls",
    ),
    Mutant(
        "cap on new keys",
        "rotation/steps/creation.py",
        "    if over:\n        return over\n",
        "",
        "tests/rotation/test_storms.py -k cap_on",
    ),
    Mutant(
        "soonest expiry first",
        "rotation/policies.py",
        "ORDER BY expires_at NULLS LAST, next_run_at LIMIT %s",
        "ORDER BY next_run_at LIMIT %s",
        "tests/rotation/test_storms.py -k expires_first",
    ),
    Mutant(
        "messages do not pile up",
        "rotation/workflow.py",
        "    quiet = _due().exclude(nudged_at__gt=Now() - _NUDGE_AGAIN)",
        "    quiet = _due()",
        "tests/rotation/test_storms.py -k pile_up",
    ),
    Mutant(
        "empty or partial list",
        "rotation/reconciling.py",
        "    if live and len(live & there) < len(live) * _BELIEVED:",
        "    if False:",
        "tests/rotation/test_reconcile.py -k refused_or_broken_list",
    ),
    Mutant(
        "half an answer closes nothing",
        "rotation/reconciling.py",
        "    if whole and report.complete:",
        "    if True:",
        "tests/rotation/test_reconcile.py -k refused_or_broken_list",
    ),
    Mutant(
        "freeze before delete",
        "rotation/steps/retire.py",
        "    frozen = freezing.hold()\n    if frozen:\n        return frozen\n    if old.state",
        "    if old.state",
        "tests/rotation/test_freezing.py -k before_anything",
    ),
    Mutant(
        "freeze in roll back",
        "rotation/steps/retire.py",
        "    frozen = freezing.hold() if new else None",
        "    frozen = None",
        "tests/rotation/test_freezing.py -k gives_the_old_key_back",
    ),
    Mutant(
        "two-phase epoch",
        "rotation/freezing.py",
        "(epoch.current, epoch.pending) if one",
        "(epoch.current,) if one",
        "tests/rotation/test_freezing.py -k dies_between",
    ),
    Mutant(
        "roll under way",
        "rotation/freezing.py",
        "(again.current, again.pending) == (epoch.current, epoch.pending)",
        "True",
        "tests/rotation/test_freezing.py -k under_way",
    ),
    Mutant(
        "adopt only what is needed",
        "rotation/recovering.py",
        "    if check_secret(key.account, current).answer != REFUSED:",
        "    if False:",
        "tests/rotation/test_reconcile.py -k needs_it",
    ),
    Mutant(
        "nothing outside its window",
        "rotation/policies.py",
        "            if not _may_begin(policy, now, frozen):",
        "            if False:",
        "tests/rotation/test_windows.py -k outside_its_window",
    ),
    Mutant(
        "ends before its window",
        "rotation/planning.py",
        "    if not policy.enabled or ends is None or (at is not None and at < ends):",
        "    if True:",
        "tests/rotation/test_windows.py -k persons_to_decide",
    ),
    Mutant(
        "only dead keys of ours make room",
        "rotation/steps/room.py",
        "for key in listed if key.disabled]",
        "for key in listed]",
        "tests/rotation/test_room.py -k dead_key",
    ),
    Mutant(
        "room before the create",
        "rotation/steps/generate.py",
        "room.look(claim) or creation",
        "creation",
        "tests/rotation/test_room.py -k known_limit_is_found",
    ),
    Mutant(
        "no left-over is deleted while frozen",
        "rotation/steps/room.py",
        "    frozen = freezing.hold() if over else None",
        "    frozen = None",
        "tests/rotation/test_room.py -k frozen",
    ),
    Mutant(
        "only settled calls leave orphans",
        "rotation/steps/room.py",
        "        state=Intent.State.ABANDONED,\n",
        "",
        "tests/rotation/test_room.py -k still_open",
    ),
    Mutant(
        "a person agrees before a key dies",
        "rotation/steps/in_place.py",
        "    if rotation.waived_at is None and rotation.reason != Reason.LEAK:",
        "    if False:",
        "tests/rotation/test_in_place.py -k asks_a_person",
    ),
    Mutant(
        "the call in place is made once",
        "rotation/steps/in_place.py",
        "        return _look(claim, intent, old)",
        "        intent.delete()",
        "tests/rotation/test_in_place.py -k lost_answer",
    ),
    Mutant(
        "no way back to a dead key",
        "rotation/settling.py",
        " or in_place.called(held.rotation):",
        ":",
        "tests/rotation/test_in_place.py -k after_the_switch",
    ),
    Mutant(
        "no cancel of a dead key",
        "rotation/workflow.py",
        "        if in_place.called(rotation):",
        "        if False:",
        "tests/rotation/test_in_place.py -k lost_answer",
    ),
    Mutant(
        "no replacing while frozen",
        "rotation/steps/in_place.py",
        "    return freezing.hold() or _prepare(claim, old)",
        "    return _prepare(claim, old)",
        "tests/rotation/test_in_place.py -k frozen",
    ),
    Mutant(
        "no delete by an id that two share",
        "rotation/steps/retire.py",
        "    return not others.exclude(pk=version.pk).exists()",
        "    return True",
        "tests/rotation/test_workflow.py -k that_two_keys_share",
    ),
    Mutant(
        "nothing is ended without the new secret",
        "rotation/steps/retire.py",
        "    _require_readable(rotation, version)\n",
        "",
        "tests/rotation/test_workflow.py -k vault_has_not_the_new",
    ),
    Mutant(
        "rights are compared",
        "rotation/steps/likeness.py",
        "    if old is None or new is None or old == new:",
        "    if True:",
        "tests/rotation/test_likeness.py -k other_rights",
    ),
    Mutant(
        "lives are compared",
        "rotation/steps/likeness.py",
        "    found = [_rights(had, granted), _end(rotation, had, new)]",
        "    found = [_rights(had, granted)]",
        "tests/rotation/test_likeness.py -k life_that_ends",
    ),
    Mutant(
        "planned before the end",
        "rotation/expiry.py",
        "min(planned, expires_at - lead)",
        "planned",
        "tests/rotation/test_likeness.py -k planned_before",
    ),
    Mutant(
        "headers of direct callers",
        "keyvault/client_address.py",
        '        return str(known or "")\n    for',
        "        pass\n    for",
        "tests/keyvault/test_client_address.py -k direct_caller",
    ),
    *(Mutant(*one) for one in (*ACCESS, *PLANNING)),
)


def main(names: list[str]) -> int:
    """Run the mutants (all, or those named) and say which survive."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    survivors = [mutant.name for mutant in chosen if _survives(mutant)]
    for name in survivors:
        print(f"survived: {name}")
    print(f"mutants: {len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors or not chosen else 0


def _survives(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory(prefix="keyvault-mutant-") as folder:
        copy = Path(folder) / "code"
        shutil.copytree(ROOT, copy, ignore=_SKIP)
        path = copy / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            print(f"{mutant.name}: the guard is not where it was in {mutant.file}")
            return True
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {mutant.tests}"
        done = subprocess.run(command, cwd=copy, shell=True, capture_output=True, check=False)
        print(f"{mutant.name}: {'killed' if done.returncode == 1 else 'SURVIVED'}", flush=True)
        return done.returncode != 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
