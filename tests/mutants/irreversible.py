"""Guards of calls that nobody can take back: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

IRREVERSIBLE: tuple[Guard, ...] = (
    (
        "no delete by an id that is not proven",
        "if intent.state == Intent.State.OPEN and by_program and version.is_linked:",
        "if intent.state == Intent.State.OPEN and by_program:",
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "a refuted id is never called by again",
        "    return version.link != Link.REFUTED and id_proof.shared_with(version) is None",
        "    return id_proof.shared_with(version) is None",
        "tests/rotation/test_irreversible.py -k refuted_id_is_left_alone",
    ),
    (
        "what a false id disabled is enabled again",
        "    there = _enable(claim, intent) if intent and intent.disabling_at else False\n",
        "    there = False\n",
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "what the vendor no longer has is not recorded as enabled",
        "    action = Action.VENDOR_KEY_ENABLED if there else Action.VENDOR_KEY_GONE",
        "    action = Action.VENDOR_KEY_ENABLED",
        "tests/rotation/test_irreversible.py -k vanished_while_disabled",
    ),
    (
        "a mask that does not fit refutes",
        FALSE,
        "tests/rotation/test_irreversible.py -k swapped_ids",
    ),
    (
        "an id that the vendor does not know refutes",
        "    except KeyDead:\n        found = None",
        "    except KeyDead:\n        return ''",
        "tests/rotation/test_irreversible.py -k unknown_after_the_switch",
    ),
    (
        "a dead secret proves no id",
        "not version.is_linked and (intent.disabling_at or verdict.answer != REFUSED):",
        "not version.is_linked:",
        "tests/rotation/test_irreversible.py -k refused_already",
    ),
    (
        "without a verdict it is enabled again",
        "    if verdict.answer == CANNOT_TELL:\n        return _unclear(claim, version, intent, verdict)\n",
        "    if verdict.answer == CANNOT_TELL:\n        return Retry(WaitingFor.VENDOR, verdict.text)\n",
        "tests/rotation/test_irreversible.py -k stays_disabled",
    ),
    (
        "a freeze enables what was disabled for a proof",
        "    if frozen:\n        id_proof.let_go(claim, old)\n",
        "    if frozen:\n",
        "tests/rotation/test_irreversible.py -k a_restore_enables",
    ),
    (
        "intent before the disabling",
        GONE,
        "tests/rotation/test_irreversible.py -k a_crash_while_a_false",
    ),
    (
        "a foreign credential is not used",
        FALSE,
        "tests/rotation/test_foreign_credential.py -k makes_nothing",
    ),
    (
        "no key of another account by the vendor's list",
        "    if new.account and told:\n        return None\n    return _by_list",
        "    if True:\n        return None\n    return _by_list",
        "tests/rotation/test_foreign_credential.py -k told_by_its_list",
    ),
    (
        "no key on record of another account than the credential's",
        "    if not (known and verdict.account) or known == verdict.account:",
        "    if True:",
        "tests/rotation/test_foreign_credential.py -k is_not_recorded",
    ),
    (
        "a management credential is not rotated as a key",
        GONE,
        "tests/rotation/test_foreign_credential.py -k never_ends_the_credential",
    ),
    (
        "a management credential is not ended as an old key",
        FALSE,
        "tests/rotation/test_foreign_credential.py -k given_while_its_key",
    ),
    (
        "a credential is tried before it is kept",
        "        told = provider.identify(where)\n",
        "        return ''\n",
        "tests/rotation/test_credentials.py -k tried_when",
    ),
    (
        "another credential must be of the same account",
        FALSE,
        "tests/rotation/test_credentials.py -k of_another_account",
    ),
    (
        "the old credential leaves Vault",
        GONE,
        "tests/rotation/test_credentials.py -k under_running",
    ),
    (
        "of two replacements at once one counts",
        "            pk=account.pk, management_path=account.management_path\n        ).update",
        "            pk=account.pk\n        ).update",
        "tests/rotation/test_credentials.py -k two_at_once",
    ),
    (
        "another credential wakes what waits for one",
        GONE,
        "tests/rotation/test_credentials.py -k goes_on_at_once",
    ),
    (
        "no replacing in place by an id that is shown to be wrong",
        GONE,
        "tests/rotation/test_in_place_ids.py -k swapped_ids",
    ),
    (
        "no replacing in place by a refuted id",
        GONE,
        "tests/rotation/test_in_place_ids.py -k is_not_called_by_later",
    ),
    (
        "no replacing in place by an id that two versions have",
        "    other = id_proof.shared_with(old)\n",
        "    other = None\n",
        "tests/rotation/test_in_place_ids.py -k two_versions",
    ),
    (
        "a leak does not stand for an agreement to an unproven id",
        "not (rotation.reason == Reason.LEAK and old.is_linked):",
        "rotation.reason != Reason.LEAK:",
        "tests/rotation/test_in_place_ids.py -k leak_asks",
    ),
    (
        "whoever agrees is told that the id is unproven",
        'at a time "\n        f"that suits.{unproven_id(version)}"',
        'at a time "\n        "that suits."',
        "tests/rotation/test_in_place_ids.py -k leak_asks",
    ),
    (
        "an id is not corrected while its key is disabled for a proof",
        "        or begun.filter(disabling_at__isnull=False).exists()\n",
        "",
        "tests/rotation/test_vendor_ids.py -k while_its_key_is_disabled",
    ),
    (
        "an id is not corrected after the call that replaces in place",
        "        begun.filter(kind=Intent.Kind.SWAP).exists()\n        or ",
        "        ",
        "tests/rotation/test_vendor_ids.py -k after_the_call_in_place",
    ),
    (
        "a worker with the former id in hand calls nothing",
        '        fence=F("fence") + 1,\n',
        "",
        "tests/rotation/test_vendor_ids.py -k former_id_in_hand",
    ),
    (
        "an agreement to one id is none to another",
        '        changes = {"waived_by"',
        '        {"waived_by"',
        "tests/rotation/test_vendor_ids.py -k asked_anew",
    ),
    (
        "a corrected id is unproven",
        "version.vendor_id, version.link = vendor_id, Link.UNPROVEN",
        "version.vendor_id = vendor_id",
        "tests/rotation/test_vendor_ids.py -k goes_on_when",
    ),
    (
        "the intent to end goes by the corrected id",
        "open_ones.update(vendor_id=vendor_id, unclear_since=None)",
        "open_ones.update(unclear_since=None)",
        "tests/rotation/test_vendor_ids.py -k corrected_to_another_wrong",
    ),
    (
        "an id that another live version has is refused",
        GONE,
        "tests/rotation/test_vendor_ids.py -k what_is_refused",
    ),
    (
        "a proven id stays",
        FALSE,
        "tests/rotation/test_vendor_ids.py -k what_is_refused",
    ),
    (
        "an id is corrected by who manages the key",
        FALSE,
        "tests/rotation/test_vendor_ids.py -k what_is_refused",
    ),
    (
        "a secret is no id",
        FALSE,
        "tests/rotation/test_vendor_ids.py -k what_is_refused",
    ),
    (
        "no room is made by an id that is not proven",
        "        link__in=PROVEN_LINKS,\n",
        "",
        "tests/rotation/test_room.py -k unproven_id",
    ),
    (
        "a second live key with one id is looked for under a lock",
        GONE,
        "tests/rotation/test_vendor_ids.py -k recorded_at_once",
    ),
    (
        "the trial run of an import names a used id",
        GONE,
        "tests/rotation/test_vendor_ids.py -k second_live_key",
    ),
    (
        "an unproven id is not advised to be deleted by",
        FALSE,
        "tests/rotation/test_reconcile.py -k hold_for_deleted",
    ),
    (
        "the comparison names an id of another secret",
        GONE,
        "tests/rotation/test_reconcile.py -k id_of_another",
    ),
)
