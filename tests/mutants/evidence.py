"""Guards of what counts as proof that an old key is not needed: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

_OLD_KEY = "tests/rotation/test_old_key.py"
_ADOPTION = "tests/rotation/test_adoption.py"

EVIDENCE: tuple[Guard, ...] = (
    (
        "silence outvotes no consumer on record",
        "    if any(one.must_prove for one in left):\n",
        "    if any(one.must_prove for one in left) and not (word and word.quiet):\n",
        "tests/rotation/test_adoption.py -k outvotes",
    ),
    (
        "a word that is not calibrated counts for nothing",
        FALSE,
        "tests/rotation/test_adoption.py -k does_not_know",
    ),
    (
        "never is no word where we were accepted",
        '    if last_used is None:\n        return "it says',
        '    if last_used is None:\n        return ""  # it says',
        f"{_ADOPTION} -k does_not_know",
    ),
    (
        "quiet with lag and resolution added",
        "db_clock.now() - since - blind(timing)",
        "db_clock.now() - since",
        f"{_ADOPTION} -k lag_and_resolution",
    ),
    (
        "own checks are nobody's need",
        "    return None if ours or _not_yet",
        "    return None if _not_yet",
        f"{_ADOPTION} -k own_checks",
    ),
    (
        "time without a word is not quiet",
        "    if not word.counts:\n        claim.note",
        "    if False:\n        claim.note",
        f"{_OLD_KEY} -k right_again",
    ),
    (
        "a gateway's 404 is no last use",
        GONE,
        "tests/rotation/test_old_key.py -k own_word",
    ),
    (
        "gone is the vendor's own code",
        "error_of(answer.body)[0] == _GONE_CODE",
        "bool(error_of(answer.body)[0])",
        "tests/rotation/providers/test_sandbox.py",
    ),
    (
        "rights are compared behind a gateway",
        "    except KeyDead:\n",
        "    except VendorError:\n",
        "tests/rotation/test_likeness.py -k uncompared",
    ),
    (
        "an unknown id whose secret works",
        FALSE,
        "tests/rotation/test_likeness.py -k does_not_know",
    ),
    (
        "an accepted secret of before this rotation",
        "    return version.check_answer == VALID and bool(asked and checked and checked >= asked)\n",
        "    return version.check_answer == VALID\n",
        "tests/rotation/test_likeness.py -k stood_on_record",
    ),
    (
        "an early death is told",
        "    if rotation.old_gone_at or not (steady or dead):",
        "    if True:",
        f"{_OLD_KEY} -k dies_early",
    ),
    (
        "a dead key is no proof",
        "    if rotation.old_gone_at:\n        return _without",
        "    if False:\n        return _without",
        f"{_OLD_KEY} -k dies_early",
    ),
    (
        "one refusal is no death",
        "rotation.old_refusals >= timing_of(rotation.key.account).steady_answers",
        "rotation.old_refusals >= 1",
        f"{_OLD_KEY} -k one_refusal",
    ),
    (
        "a secret that works is not dead",
        "        return _lives_again(claim) if rotation.old_gone_at else False\n",
        "",
        f"{_OLD_KEY} -k given_back",
    ),
    (
        "checks leave time in which others are seen",
        "        few = max(few, _SIGHT",
        "        few = max(0.0 * few, 0.0 * _SIGHT",
        f"{_OLD_KEY} -k coarse",
    ),
    (
        "checks of old keys keep to the month's calls",
        "    if rotation.old_asked < _FREE_CHECKS:",
        "    if True:",
        f"{_OLD_KEY} -k few_minutes",
    ),
    (
        "a quiet period that shows nothing",
        GONE,
        "tests/rotation/test_policies.py -k shows_nothing",
    ),
    (
        "a list without labels is no evidence",
        "    nameless = [] if found else _nameless(intent)\n",
        "    nameless: list[str] = []\n",
        "tests/rotation/test_automatic.py -k list_without_labels",
    ),
)
