"""Guards of holds on keys, and their end: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

ENDINGS: tuple[Guard, ...] = (
    (
        "no word of a new key where a key is retired",
        "    if rotation.retires:\n        said",
        "    if False:\n        said",
        "tests/rotation/test_retiring.py -k no_page_speaks",
    ),
    (
        "a leaver's pending approvals",
        GONE,
        'tests/rotation/test_returning.py -k "lapses or counts_no_more"',
    ),
    (
        "asker and approver are here",
        FALSE,
        "tests/rotation/test_returning.py -k at_this_moment",
    ),
    (
        "standby from before somebody left",
        GONE,
        "tests/rotation/test_returning.py -k standby",
    ),
    (
        "off-boarded before they come back",
        GONE,
        "tests/rotation/test_returning.py -k with_nothing",
    ),
    (
        "nothing of before opens a door",
        GONE,
        "tests/rotation/test_returning.py -k with_nothing",
    ),
    (
        "hold under the lock of the intent to delete",
        "        held = holds.wait_locked(rotation)\n        if held:\n            return held\n"
        "        intent = begin_delete(claim, old)",
        "        intent = begin_delete(claim, old)",
        "tests/rotation/test_holds.py -k about_to_delete",
    ),
    (
        "hold right before the vendor is called",
        "        or hold_status.holds_on(rotation.key_id)\n",
        "",
        "tests/rotation/test_holds.py -k right_before_it_calls",
    ),
    (
        "hold at the delete step",
        "    held = holds.wait(claim.rotation)\n    if held:\n        id_proof.let_go",
        "    held = None\n    if held:\n        id_proof.let_go",
        "tests/rotation/test_holds.py -k may_be_late",
    ),
    (
        "hold before Vault",
        GONE,
        "tests/rotation/test_holds.py -k no_door",
    ),
    (
        "hold keeps a refused standby",
        FALSE,
        "tests/rotation/test_holds.py -k thrown_away",
    ),
    (
        "hold right before a replacement in place",
        "    if hold_status.holds_on(rotation.key_id):\n        return _not_called",
        "    if False:\n        return _not_called",
        "tests/rotation/test_holds.py -k about_to_replace",
    ),
    (
        "hold under the lock of a replacement in place",
        "        held = holds.wait_locked(rotation)\n        if held:\n            return held\n"
        "        # Nothing",
        "        # Nothing",
        "tests/rotation/test_holds.py -k about_to_replace",
    ),
    (
        "hold's task is taken back",
        GONE,
        "tests/rotation/test_holds.py -k nobody_is_asked",
    ),
    (
        "cancel under the lock of a retirement",
        "        if rotation.cancelling and not _begun(claim).exists():\n            return Wait",
        "        if False:\n            return Wait",
        "tests/rotation/test_retiring.py -k last_moment",
    ),
    (
        "proofs before a retirement",
        GONE,
        "tests/rotation/test_retiring.py -k named_and_waited_for",
    ),
    (
        "completion of an incident",
        "    HumanTask.Kind.INCIDENT: Fields,\n",
        "",
        "tests/rotation/test_completing.py",
    ),
    (
        "no end by a list that names a key nobody knows",
        FALSE,
        "tests/rotation/test_lost.py -k that_nobody_knows",
    ),
    (
        "no end of a retired key by an id that is not proven",
        "not (other and _all_are_others(version, there)):",
        "not _all_are_others(version, there):",
        "tests/rotation/test_lost.py -k retired_by_a_word",
    ),
    (
        "no end of a proven id by a list without a key of ours",
        FALSE,
        "tests/rotation/test_lost.py -k proven_id",
    ),
    (
        "second person lifts a hold",
        GONE,
        "tests/rotation/test_holds.py -k second_one_agrees",
    ),
)
