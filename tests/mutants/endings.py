"""Guards of holds on keys, and their end: each as name, file, old, new and tests."""

ENDINGS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "a leaver's pending approvals",
        "rotation/offboarding.py",
        "    approvals.lapse(actor, member)\n",
        "",
        'tests/rotation/test_returning.py -k "lapses or counts_no_more"',
    ),
    (
        "asker and approver are here",
        "keyvault/approvals.py",
        "        if not _both_are_here(by, approval):",
        "        if False:",
        "tests/rotation/test_returning.py -k at_this_moment",
    ),
    (
        "standby from before somebody left",
        "rotation/steps/generate.py",
        '    standbys = standbys.exclude(added_by__returned_at__gt=F("created_at"))\n',
        "",
        "tests/rotation/test_returning.py -k standby",
    ),
    (
        "off-boarded before they come back",
        "rotation/returning.py",
        "        if here.left_at is None:\n            offboarding.finish_leaver(here)\n",
        "",
        "tests/rotation/test_returning.py -k with_nothing",
    ),
    (
        "nothing of before opens a door",
        "rotation/returning.py",
        "        _forget(by, here)\n",
        "",
        "tests/rotation/test_returning.py -k with_nothing",
    ),
)
