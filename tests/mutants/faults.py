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
        "nothing is read behind what was malformed",
        _WEB,
        " or conn.parser.unreader.buf.getvalue():",
        ":",
        f"{_TEST_WEB} -k malformed",
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
)
