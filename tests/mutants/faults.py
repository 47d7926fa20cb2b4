"""Guards of the service under attack and faults: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

_TEST_WEB = "tests/keyvault/test_web_server.py"

FAULTS: tuple[Guard, ...] = (
    (
        "a thread only for a whole request",
        "            if size is not None:\n",
        "            if data:\n                size = size or len(conn.arrived)\n",
        f"{_TEST_WEB} -k pieces",
    ),
    (
        "slow requests end",
        FALSE,
        "tests/keyvault/test_web_server.py -k too_slow",
    ),
    (
        "a drip does not prolong a request",
        "            elif not begun:\n",
        "            else:\n",
        f"{_TEST_WEB} -k drip",
    ),
    (
        "an answer has an end",
        GONE,
        "tests/keyvault/test_web_server.py -k nobody_reads",
    ),
    (
        "a body has a size",
        '        if length > MOST_BODY:\n            raise Refused("413 Content Too Large")\n        size',
        "        size",
        f"{_TEST_WEB} -k malformed",
    ),
    (
        "room for the next connection",
        GONE,
        "tests/keyvault/test_web_server.py -k no_room",
    ),
    (
        "digits are counted before they are read",
        ' or len(text.lstrip("0")) > len(str(most))',
        "",
        "tests/test_odd_requests.py -k thousands",
    ),
    (
        "pages answer HEAD",
        GONE,
        "tests/test_odd_requests.py -k answers_head",
    ),
    (
        "a form's address leads to its page",
        FALSE,
        "tests/test_odd_requests.py -k leads_to_its_page",
    ),
    (
        "a full disk is told in one sentence",
        '            raise StartFailed(f"{self.name} cannot be started: {in_words(error)}") from None\n',
        "            raise\n",
        "tests/sandbox/test_full_disk.py -k cannot_be_kept",
    ),
    (
        "the launcher outlives a full disk",
        "        except (StartFailed, OSError) as error:\n",
        "        except MemoryError as error:\n",
        "tests/sandbox/test_full_disk.py -k watches_on",
    ),
    (
        "Retry-After is honoured",
        "    wait = retry_after.seconds(asked)\n",
        "    wait = None\n",
        "tests/rotation/test_outbox.py -k asked_to",
    ),
    (
        "webhooks go on for a day",
        "GIVE_UP_AFTER = timedelta(days=1)",
        "GIVE_UP_AFTER = timedelta(0)",
        "tests/rotation/test_outbox.py -k growing",
    ),
    (
        "a person is told of a webhook that was given up",
        FALSE,
        "tests/rotation/test_outbox.py -k tells_a_person",
    ),
    (
        "the oldest unsigned row counts",
        "    unsealed = vitals.oldest_unsealed_age >",
        "    unsealed = (vitals.checkpoint_age or 0) >",
        "tests/rotation/test_health.py -k quiet_night",
    ),
    (
        "a lagging standby is no restore",
        GONE,
        "tests/keyvault/test_lag.py -k lagging_standby",
    ),
    (
        "a cut-off roll before a lag is no restore",
        "    return epoch.pending is not None and _write(uuid.uuid4(), epoch.writes + 1)\n",
        "    return False\n",
        "tests/keyvault/test_lag.py -k cut_off_before",
    ),
    (
        "what a standby lacks is asked for again",
        "            time.sleep(pause)\n    try:\n        return _read(area, path)\n",
        "            raise\n    try:\n        return _read(area, path)\n",
        "tests/keyvault/test_lag.py -k asked_for_again",
    ),
    (
        "a mount that deletes by itself is refused",
        FALSE,
        "tests/keyvault/test_lag.py -k deletes_by_itself",
    ),
    (
        "readiness is tried",
        '    reads = bool(state["active"]) and _vault_reads()\n',
        '    reads = bool(state["active"])\n',
        "tests/keyvault/test_lag.py -k gives_nothing",
    ),
    (
        "an unrecorded sign-in only looks",
        "            elif sessions.only_looks(request, request.user) and _changes(request):\n",
        "            elif sessions.only_looks(request, request.user) and False:\n",
        "tests/keyvault/test_unwritable_audit.py -k look_and_nothing_else",
    ),
    (
        "a sign-in is recorded late",
        '            unrecorded = how or "unknown"\n',
        '            unrecorded = ""\n',
        "tests/keyvault/test_unwritable_audit.py -k put_on_record",
    ),
    (
        "nobody is held in",
        '                log.error("signed out without an audit row", extra={"member": request.user.pk})\n',
        "                raise\n",
        "tests/keyvault/test_unwritable_audit.py -k sign_out_works",
    ),
    (
        "an audit log that cannot be written is not ready",
        '"ok" if audit and vault',
        '"ok" if vault',
        "tests/keyvault/test_unwritable_audit.py -k health_is_not_ok",
    ),
    (
        "a witness outside both halves",
        " or external_marker.difference()\n",
        "\n",
        "tests/rotation/test_witness.py -k both_restored",
    ),
    (
        "an export that is ahead is not written over",
        "    if export_is_ahead():\n        # Written",
        "    if False:\n        # Written",
        "tests/rotation/test_witness.py -k ahead_of_the_log",
    ),
    (
        "strangers keep nobody out of their browser",
        "    device = known_devices.device_of(request, member)\n",
        '    device = ""\n',
        "tests/keyvault/test_lock_out.py -k own_browser",
    ),
    (
        "a known browser is one person's",
        'said.get("member") == member.pk and ',
        "",
        "tests/keyvault/test_lock_out.py -k one_person",
    ),
    (
        "guesses in a known browser are bounded",
        '        by_account = rate_limits.count_attempt("sign-in known", f"{typed} {known}", WINDOW)\n',
        "        by_account = 0\n",
        "tests/keyvault/test_lock_out.py -k bounded",
    ),
)
