"""Guards of keys and tokens that must be neither stuck nor lost: each as name, file, old, new and tests."""

CUSTODY: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "refused secret given up at once",
        "keyvault/leftovers.py",
        "        if not saved and path is not None:\n",
        "        if False:\n",
        "tests/rotation/test_pastes.py -k at_once",
    ),
    (
        "secret noted before it is written",
        "keyvault/versions.py",
        "    leftovers.write(AREA, data, version.path)\n",
        "    secret_store.write_once(AREA, version.path, data)\n",
        "tests/rotation/test_pastes.py -k cut_off_and_not_repeated",
    ),
    (
        "paste over a stranded version",
        "rotation/pasting_keys.py",
        "    stranded.release(rotation.key_id)\n",
        "",
        "tests/rotation/test_pastes.py -k pasted_over",
    ),
    (
        "stranded version of older data",
        "rotation/sweeping.py",
        "    stranded.release_all()\n",
        "",
        "tests/rotation/test_pastes.py -k older_release",
    ),
    (
        "rule of the database explained",
        "rotation/workflow.py",
        "        return stranded.explain(held, error)\n",
        "        raise error\n",
        "tests/rotation/test_pastes.py -k nothing_mends",
    ),
    (
        "copy told from a secret that nobody knows",
        "rotation/reconciling.py",
        '    if version:\n        what = f"a copy',
        '    if False:\n        what = f"a copy',
        "tests/rotation/test_pastes.py -k never_advises",
    ),
    (
        "secret on record is no leftover",
        "rotation/leftovers.py",
        "            if not _is_named(one):\n",
        "            if True:\n",
        "tests/rotation/test_pastes.py -k never_destroyed",
    ),
    (
        "adopted secret is no leftover",
        "rotation/recovering.py",
        "        leftovers.adopt(draft.path)\n",
        "",
        "tests/rotation/test_pastes.py -k adopts_is_kept",
    ),
    (
        "lost standby put away",
        "rotation/steps/generate.py",
        "            _put_away_lost(claim, version, missing.message)\n            continue\n",
        "            raise missing from None\n",
        "tests/rotation/test_pastes.py -k vault_lost",
    ),
)
