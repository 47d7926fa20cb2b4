"""Guards of calls that nobody can take back: each as name, file, old, new and tests."""

IRREVERSIBLE: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "no delete by an id that is not proven",
        "rotation/steps/retire.py",
        "if intent.state == Intent.State.OPEN and by_program and version.is_linked:",
        "if intent.state == Intent.State.OPEN and by_program:",
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "a refuted id is never called by again",
        "rotation/steps/retire.py",
        "    return version.link != Link.REFUTED and linking.shared_with(version) is None",
        "    return linking.shared_with(version) is None",
        "tests/rotation/test_irreversible.py -k refuted_id_is_left_alone",
    ),
    (
        "what a false id disabled is enabled again",
        "rotation/steps/linking.py",
        "    if intent.disabling_at:\n        _enable(claim, intent)\n    with",
        "    with",
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "a mask that does not fit refutes",
        "rotation/steps/linking.py",
        "    if masks.fits(found.masked, secret) is False:",
        "    if False:",
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "an id that the vendor does not know refutes",
        "rotation/steps/linking.py",
        "    except KeyDead:\n        found = None",
        "    except KeyDead:\n        return ''",
        "tests/rotation/test_irreversible.py -k that_the_vendor_does_not_know",
    ),
    (
        "a dead secret proves no id",
        "rotation/steps/retire.py",
        "not version.is_linked and (intent.disabling_at or verdict.answer != REFUSED):",
        "not version.is_linked:",
        "tests/rotation/test_irreversible.py -k refused_already",
    ),
    (
        "without a verdict it is enabled again",
        "rotation/steps/linking.py",
        "    if verdict.answer == CANNOT_TELL:\n        return _unclear(claim, version, intent, verdict)\n",
        "    if verdict.answer == CANNOT_TELL:\n        return Retry(WaitingFor.VENDOR, verdict.text)\n",
        "tests/rotation/test_irreversible.py -k stays_disabled",
    ),
    (
        "a freeze enables what was disabled for a proof",
        "rotation/steps/retire.py",
        "    if frozen:\n        linking.let_go(claim, old)\n",
        "    if frozen:\n",
        "tests/rotation/test_irreversible.py -k a_restore_enables",
    ),
    (
        "intent before the disabling",
        "rotation/steps/linking.py",
        '        intent.save(update_fields=["disabling_at"])\n',
        "        pass\n",
        "tests/rotation/test_irreversible.py -k a_crash_while_a_false",
    ),
)
