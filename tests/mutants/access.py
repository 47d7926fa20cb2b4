"""Guards of who may do what: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

ACCESS: tuple[Guard, ...] = (
    (
        "second person is another",
        GONE,
        "tests/keyvault/test_approvals.py -k own_request",
    ),
    (
        "agreement to exactly this",
        "        digest=asked.digest,\n        decided_by__is_active=True,",
        "        decided_by__is_active=True,",
        "tests/keyvault/test_approvals.py -k changed_after",
    ),
    (
        "agreement used once",
        "        granted=True,\n        used_at__isnull=True,",
        "        granted=True,",
        "tests/keyvault/test_approvals.py -k shown_once",
    ),
    (
        "proof before a reveal",
        FALSE,
        "tests/keyvault/test_approvals.py -k stale_proof",
    ),
    (
        "budget of reveals",
        "> settings.REVEALS_PER_HOUR",
        "> 10**9",
        "tests/keyvault/test_approvals.py -k budget",
    ),
    (
        "lock of an account",
        "    if by_account <= TRIES_PER_ACCOUNT and by_source <= TRIES_PER_SOURCE:",
        "    if by_source <= TRIES_PER_SOURCE:",
        "tests/keyvault/test_signing_in.py -k ten_wrong",
    ),
    (
        "idle session",
        FALSE,
        "tests/keyvault/test_signing_in.py -k idle",
    ),
    (
        "session by its digest",
        "    return hashlib.sha256(session_key.encode()).hexdigest()[:40]",
        "    return session_key",
        "tests/keyvault/test_signing_in.py -k digest",
    ),
    (
        "last owner",
        FALSE,
        "tests/keyvault/test_grants.py -k last_owner",
    ),
    (
        "own roles",
        "    _require_owner_of(by, grant)\n    refuse_own(by, holder)\n    try:",
        "    _require_owner_of(by, grant)\n    try:",
        "tests/keyvault/test_grants.py -k raises_themselves",
    ),
    (
        "standby of a leaver",
        GONE,
        "tests/rotation/test_offboarding.py -k standby",
    ),
    (
        "leavers by other doors",
        GONE,
        "tests/rotation/test_offboarding.py -k another_door",
    ),
    (
        "token held to its networks",
        '        "networks": list(networks),\n',
        "",
        "tests/keyvault/test_approvals.py -k held_to_its_end",
    ),
    (
        "no agreement used before all are there",
        "    if not missing and _use_up(by, needed):",
        "    if _use_up(by, [one for one in needed if one not in missing]) and not missing:",
        "tests/keyvault/test_approvals.py -k two_agreements",
    ),
    (
        "agreement of somebody who left",
        "        decided_by__is_active=True,\n",
        "",
        "tests/keyvault/test_approvals.py -k who_left",
    ),
    (
        "held while a reveal is noted",
        GONE,
        "tests/rotation/test_exposure.py -k in_flight",
    ),
    (
        "held while a token is renewed",
        "        lock_member(by)\n        # Two that renew",
        "        # Two that renew",
        "tests/rotation/test_exposure.py -k in_flight",
    ),
    (
        "held while a key is recorded",
        "            lock_member(by)\n            vendor_id_format.require_free(",
        "            vendor_id_format.require_free(",
        "tests/rotation/test_exposure.py -k in_flight",
    ),
    (
        "last owner is not off-boarded",
        "        roles.require_an_owner()\n        return done",
        "        return done",
        "tests/rotation/test_offboarding.py -k last_owner",
    ),
    (
        "former text of a leaver",
        GONE,
        "tests/rotation/test_exposure.py -k former_text",
    ),
    (
        "open rotations of a leaver",
        "    return theirs.update(requested_by=asker)",
        "    return 0",
        "tests/rotation/test_exposure.py -k brought_into",
    ),
    (
        "one refusal is no incident",
        GONE,
        "tests/rotation/test_watching.py -k one_odd_node",
    ),
    (
        "a replaced key is left alone",
        " or not ApiKey.objects.filter(pk=key.pk, current=version).exists()",
        "",
        "tests/rotation/test_watching.py -k replaced_while",
    ),
    (
        "pauses hold",
        "pause.ends_at > now() AND",
        "pause.ends_at < now() AND",
        "tests/rotation/test_watching.py -k starts_by_itself",
    ),
    (
        "nobody who left is written to",
        FALSE,
        "tests/rotation/test_notices.py -k never_written_to",
    ),
    (
        "one claim sends",
        "    AND (claimed_until IS NULL OR claimed_until < now())\n",
        "",
        "tests/rotation/test_notices.py -k two_senders",
    ),
    (
        "a fetch from memory is confirmed",
        " AND STATE = known;",
        ";",
        "tests/keyvault/test_secret_cache.py -k very_next_fetch",
    ),
    (
        "a fetch of all from memory is confirmed",
        "keyvault_fetch_all_state(wanted_token) IS NOT DISTINCT FROM known",
        "true",
        "tests/keyvault/test_secret_cache.py -k about_any_key",
    ),
    (
        "a token is checked for a fetch from memory",
        "        return found, tokens.require_good(found.token, token_text, current().source)",
        "        return found, found.token",
        "tests/keyvault/test_secret_cache.py -k bound_elsewhere",
    ),
    (
        "an audit row is on disk",
        "    PERFORM pg_catalog.pg_logical_emit_message(true, 'keyvault', '');\n",
        "",
        "tests/keyvault/test_audit_speed.py -k on_disk",
    ),
    (
        "parts of the chain meet",
        "    if not gap and part.first_prev == whole.prev:",
        "    if not gap:",
        "tests/keyvault/test_audit_speed.py -k several_processes",
    ),
    (
        "the store is asked again after a minute",
        "            if now < found[1]:",
        "            if True:",
        "tests/keyvault/test_secret_cache.py -k for_a_minute_only",
    ),
    (
        "what was pasted is not sent back",
        '{**form.data.dict(), "text": ""}',
        "form.data",
        "tests/keyvault/test_importing.py -k never_sends",
    ),
    (
        "last owner of a directory",
        GONE,
        "tests/keyvault/test_directory.py -k last_owner",
    ),
    (
        "proof before a webhook",
        GONE,
        "tests/rotation/test_api.py -k proof_of_who",
    ),
    (
        "leftover given time",
        "filter(since__lte=timezone.now() - SETTLED_AFTER)",
        "all()",
        "tests/rotation/test_leftovers.py -k leaves_vault_too",
    ),
    (
        "leftover named while it goes",
        "path=path, doomed_at__isnull=True",
        "path=path",
        "tests/rotation/test_leftovers.py -k named_no_more",
    ),
    (
        "an address waits for its proof in no session",
        'require_recent_auth(request, back="notifications")',
        "require_recent_auth(request)",
        "tests/rotation/test_proof.py -k chat",
    ),
)
