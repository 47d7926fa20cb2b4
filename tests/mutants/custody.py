"""Guards of keys and tokens that must be neither stuck nor lost: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

CUSTODY: tuple[Guard, ...] = (
    (
        "refused secret given up at once",
        FALSE,
        "tests/rotation/test_pastes.py -k at_once",
    ),
    (
        "secret noted before it is written",
        "    stored_secrets.store_secret(AREA, data, version.path)\n",
        "    secret_store.write_once(AREA, version.path, data)\n",
        "tests/rotation/test_pastes.py -k cut_off_and_not_repeated",
    ),
    (
        "paste over a stranded version",
        GONE,
        "tests/rotation/test_pastes.py -k pasted_over",
    ),
    (
        "stranded version of older data",
        GONE,
        "tests/rotation/test_pastes.py -k older_release",
    ),
    (
        "rule of the database explained",
        "        return stranded_versions.explain(held, error)\n",
        "        raise error\n",
        "tests/rotation/test_pastes.py -k nothing_mends",
    ),
    (
        "copy told from a secret that nobody knows",
        '    if version:\n        what = f"a copy',
        '    if False:\n        what = f"a copy',
        "tests/rotation/test_pastes.py -k never_advises",
    ),
    (
        "secret on record is no leftover",
        "            if not _is_named(one):\n",
        "            if True:\n",
        "tests/rotation/test_pastes.py -k never_destroyed",
    ),
    (
        "adopted secret is no leftover",
        GONE,
        "tests/rotation/test_pastes.py -k adopts_is_kept",
    ),
    (
        "lost standby put away",
        "            _put_away_lost(claim, version, missing.message)\n            continue\n",
        "            raise missing from None\n",
        "tests/rotation/test_pastes.py -k vault_lost",
    ),
    (
        "Vault looked at while verify waits",
        "    trouble = lost_secret.way_back(claim) or _check_published(claim)\n",
        "    trouble = _check_published(claim)\n",
        "tests/rotation/test_lost.py -k nobody_fetches",
    ),
    (
        "long wait cut short",
        "min(remaining, lost_secret.LOOK_EVERY)",
        "remaining",
        "tests/rotation/test_lost.py -k each_minute",
    ),
    (
        "Vault looked at before a person deletes",
        GONE,
        "tests/rotation/test_lost.py -k person_is_asked",
    ),
    (
        "holders of the lost key waited for",
        "lost_secret.wait_for_holders(claim, new) or _undo_new(claim, new)",
        "_undo_new(claim, new)",
        "tests/rotation/test_lost.py -k whoever_fetched",
    ),
    (
        "waiver of the old key is none of the lost one",
        "        waived_at=None,\n",
        "",
        "tests/rotation/test_lost.py -k every_door",
    ),
    (
        "rotation without a key ends",
        "lost_secret.nothing_to_restore(claim, new) or _restore(claim, new)",
        "_restore(claim, new)",
        "tests/rotation/test_lost.py -k gone_too",
    ),
    (
        "changed value concludes nothing alone",
        FALSE,
        "tests/rotation/test_lost.py -k fingerprint_key",
    ),
    (
        "fetch that finds nothing wakes the rotation",
        GONE,
        "tests/rotation/test_lost.py -k finds_nothing",
    ),
    (
        "fetch that finds nothing tells people",
        GONE,
        "tests/rotation/test_lost.py -k at_rest",
    ),
    (
        "paste over a lost current secret",
        "    except versions.LOST:\n        return\n",
        "    except versions.SecretChanged:\n        return\n",
        "tests/rotation/test_lost.py -k keeps_nobody",
    ),
    (
        "old key enabled again for the way back",
        GONE,
        "tests/rotation/test_lost.py -k enabled_again",
    ),
    (
        "key that cannot be sent refused",
        GONE,
        "tests/rotation/test_odd_keys.py -k stored_nowhere",
    ),
    (
        "stored key that cannot be sent given up",
        FALSE,
        "tests/rotation/test_odd_keys.py -k older_release",
    ),
    (
        "odd key of an in-place vendor told",
        GONE,
        "tests/rotation/test_odd_keys.py -k old_key_is_dead",
    ),
    (
        "older former texts kept",
        "        kept = [*(one for one in token.formers if _end_of(one) > now), entry]\n",
        "        kept = [entry]\n",
        "tests/keyvault/test_token_texts.py -k renewed_twice",
    ),
    (
        "renewals one after the other",
        "ServiceToken.objects.select_for_update(no_key=True).filter(revoked_at__isnull=True)",
        "ServiceToken.objects.filter(revoked_at__isnull=True)",
        "tests/keyvault/test_token_texts.py -k six_renewals",
    ),
    (
        "end of a former text",
        "if same and _end_of(one) > now and token.former_until",
        "if same and token.former_until",
        "tests/keyvault/test_token_texts.py -k own_time",
    ),
    (
        "text in use keeps its room",
        'next((one for one in kept if str(one["text"]) not in used), None)',
        "kept[0]",
        "tests/keyvault/test_token_texts.py -k makes_room",
    ),
    (
        "former texts part of what is confirmed",
        '"token.former_until, token.formers,", 1)\n\n\n',
        '"token.former_until,", 1)\n\n\n',
        "tests/keyvault/test_token_texts.py -k end_that_was_moved",
    ),
    (
        "what is shown once is for one person",
        '    if held.get("member") != current_member(request).pk:\n',
        "    if not held:\n",
        "tests/keyvault/test_token_texts.py -k one_person",
    ),
    (
        "what is shown once ends",
        "decrypt(sealed.encode(), ttl=SECONDS)",
        "decrypt(sealed.encode())",
        "tests/keyvault/test_token_texts.py -k one_person",
    ),
)
