"""Guards of the service under attack and faults: each as name, file, old, new and tests."""

_WEB = "keyvault/web_server.py"
_TEST_WEB = "tests/keyvault/test_web_server.py"

FAULTS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "a thread only for a whole request",
        _WEB,
        "            if size is not None:\n",
        "            if data:\n                size = size or len(conn.arrived)\n",
        f"{_TEST_WEB} -k pieces",
    ),
    (
        "slow requests end",
        _WEB,
        "            if conn.deadline <= now:\n",
        "            if False:\n",
        f"{_TEST_WEB} -k too_slow",
    ),
    (
        "a drip does not prolong a request",
        _WEB,
        "            elif not begun:\n",
        "            else:\n",
        f"{_TEST_WEB} -k drip",
    ),
    (
        "an answer has an end",
        _WEB,
        "        self.sock.settimeout(ANSWER_SECONDS)\n",
        "",
        f"{_TEST_WEB} -k nobody_reads",
    ),
    (
        "a body has a size",
        _WEB,
        '        if length > MOST_BODY:\n            raise Refused("413 Content Too Large")\n        size',
        "        size",
        f"{_TEST_WEB} -k malformed",
    ),
    (
        "room for the next connection",
        _WEB,
        "            self._drop(next(iter(self.waiting)))\n",
        "            pass\n",
        f"{_TEST_WEB} -k no_room",
    ),
    (
        "digits are counted before they are read",
        "keyvault/numbers.py",
        ' or len(text.lstrip("0")) > len(str(most))',
        "",
        "tests/test_odd_requests.py -k thousands",
    ),
    (
        "pages answer HEAD",
        "keyvault/middleware.py",
        '            request.method = "GET"\n',
        "            pass\n",
        "tests/test_odd_requests.py -k answers_head",
    ),
    (
        "a form's address leads to its page",
        "keyvault/middleware.py",
        "        if response.status_code == 405:\n",
        "        if False:\n",
        "tests/test_odd_requests.py -k leads_to_its_page",
    ),
    (
        "a full disk is told in one sentence",
        "sandbox/services/process.py",
        '            raise StartFailed(f"{self.name} cannot be started: {in_words(error)}") from None\n',
        "            raise\n",
        "tests/sandbox/test_full_disk.py -k launcher",
    ),
    (
        "the launcher outlives a full disk",
        "sandbox/commands/run.py",
        "        except (StartFailed, OSError) as error:\n",
        "        except MemoryError as error:\n",
        "tests/sandbox/test_full_disk.py -k watches_on",
    ),
    (
        "Retry-After is honoured",
        "rotation/posting.py",
        "    wait = retry_after.seconds(asked)\n",
        "    wait = None\n",
        "tests/rotation/test_outbox.py -k asked_to",
    ),
    (
        "webhooks go on for a day",
        "rotation/outbox.py",
        "GIVE_UP_AFTER = timedelta(days=1)",
        "GIVE_UP_AFTER = timedelta(0)",
        "tests/rotation/test_outbox.py -k growing",
    ),
    (
        "a person is told of a webhook that was given up",
        "rotation/outbox.py",
        "    elif delivery.consumer.active and delivery.consumer.webhook_path:\n",
        "    elif False:\n",
        "tests/rotation/test_outbox.py -k tells_a_person",
    ),
    (
        "the oldest unsigned row counts",
        "rotation/vitals.py",
        "    unsealed = vitals.oldest_unsealed_age >",
        "    unsealed = (vitals.checkpoint_age or 0) >",
        "tests/rotation/test_health.py -k quiet_night",
    ),
)
