"""Guards of what counts as proof that an old key is not needed: each as name, file, old, new and tests."""

EVIDENCE: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "silence outvotes no consumer on record",
        "rotation/adoption.py",
        "    if any(one.must_prove for one in left):\n",
        "    if any(one.must_prove for one in left) and not quiet:\n",
        "tests/rotation/test_adoption.py -k outvotes",
    ),
    (
        "a list without labels is no evidence",
        "rotation/steps/creation.py",
        "    nameless = [] if found else _nameless(intent)\n",
        "    nameless: list[str] = []\n",
        "tests/rotation/test_automatic.py -k list_without_labels",
    ),
)
