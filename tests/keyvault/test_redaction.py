"""Secrets are hidden by value wherever text leaves the process, and one event is one line."""

import base64
import copy
import io
import json
import logging
import pickle
import re
import sys
import traceback
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import RequestFactory, override_settings
from hypothesis import assume, given
from hypothesis import strategies as st

from keyvault.core import redaction
from keyvault.core.error_reporting import Reporter, ReportFilter
from keyvault.core.errors import BadInput
from keyvault.core.logging import JsonFormatter
from keyvault.core.redaction import HIDDEN, one_line, redact
from keyvault.core.secret import Secret
from tests.keyvault.helpers import windows

pytestmark = pytest.mark.pure

# Keys of no known shape: with dots, plain hex, base64, with signs that URLs and JSON escape.
ODD_KEYS = [
    "dotted.key.Zq81.mnbvcx",
    "9f86d081884c7d659a2feaa0c55ad015",
    "qL5+x/9Zb3+/T0ySgA==",
    "quo\"te\\back'slash%41&=?",
    "two words and\na line",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_it_hides_a_known_key_in_every_form(key: str) -> None:
    """B61: by value, not by pattern: plain, in JSON, in a URL, in base64, beside other text."""
    secret = Secret(key)
    raw = secret.reveal().encode()
    forms = [
        key,
        json.dumps({"k": key}),
        repr({"k": key}),
        quote(key),
        quote(key, safe=""),
        urlencode({"key": key}, quote_via=quote),
        re.sub("%..", lambda match: match[0].lower(), quote(key, safe="")),
        "https://vendor.example/x?key=" + quote(key, safe=""),
        quote("https://vendor.example/x?key=" + key, safe=""),
    ]
    for text in forms:
        hidden = redact(f"before {text} after")
        assert HIDDEN in hidden, text
        assert not windows(key, 12) & windows(hidden, 12), text
        assert hidden.startswith("before ")
        assert hidden.endswith(" after")
    for around in (raw, b"u:" + raw, b"a" + raw, raw + b"\n", b"Bearer " + raw + b"x"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(around).decode()
            hidden = redact(f"Basic <{text}>")
            assert HIDDEN in hidden
            assert not windows(text, 12) & windows(hidden, 12)


def test_it_hides_a_key_that_was_split_over_log_arguments() -> None:
    """B61: the message is redacted as a whole."""
    key = Secret("split-over-two-arguments-93847").reveal()
    record = logging.makeLogRecord({"msg": "got %s%s", "args": (key[:11], key[11:])})
    assert key not in JsonFormatter().format(record)


def test_it_hides_a_key_in_the_extras_of_a_record() -> None:
    """B10: whatever is attached to a record, also within lists and dictionaries."""
    key = Secret("canary-in-extras-55-and-more").reveal()
    extra = {"msg": "x", "note": key, "many": [key, {"k": key}], "who": Exception(key)}
    line = JsonFormatter().format(logging.makeLogRecord(extra))
    assert not windows(key, 12) & windows(line, 12)
    assert line.count(HIDDEN) == 4


def test_a_key_that_begins_another_does_not_leave_its_end_in_the_open() -> None:
    """B61: the longer of two known secrets is hidden as a whole."""
    Secret("prefix-of-another-one")
    longer = Secret("prefix-of-another-one-ENDING-73").reveal()
    assert "ENDING" not in redact(f"said {longer}.")


@pytest.mark.parametrize(
    ("text", "leaked"),
    [
        ("Authorization: Bearer unknown-but-secret-1", "unknown-but-secret-1"),
        ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer unknown-but-secret-2'}", "unknown-but-secret-2"),
        ('"authorization": "unknown-but-secret-3"', "unknown-but-secret-3"),
        ("sent bearer unknown-but-secret-4", "unknown-but-secret-4"),
        ("X-Vault-Token: unknown-but-secret-5", "unknown-but-secret-5"),
        ("token hvs.CAESIJ1234567890abcdefghij", "CAESIJ1234567890abcdefghij"),
        ("token s.1234567890abcdefghijklmn", "1234567890abcdefghijklmn"),
        ("inf_1234567890abcdefghij is wrong", "1234567890abcdefghij"),
        ("kvt_abcdefghijkl_1234567890", "abcdefghijkl_1234567890"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("mgmt_1234567890abcdefghij", "1234567890abcdefghij"),
    ],
)
def test_it_hides_credentials_that_it_never_met(text: str, leaked: str) -> None:
    """B61: shapes catch what the registry cannot know, such as what a stranger presented."""
    assert leaked not in redact(text)


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Status 503: the vendor answers with its page, order 66 of 2026-11-25T03:54:00Z"
    assert redact(text) == text


@pytest.mark.parametrize(
    "odd",
    [
        "\n",
        "\r\n",
        "\r",
        "\x1b[2J",
        "\x00",
        "\x07",
        "\x7f",
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u200b",
        "\x0b",
        "\ud800",
    ],
)
def test_one_event_is_one_line(odd: str) -> None:
    """B87: no text of a person or a vendor can forge a second record, also in extras."""
    text = f'name{odd}{{"level": "error", "message": "forged"}}'
    assert one_line(text).isprintable()
    record = logging.makeLogRecord({"msg": "key %s", "args": (text,), "note": text})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"].startswith("key name")


def test_a_traceback_stays_in_its_line_and_hides_the_key() -> None:
    """B10, B87: exception texts with line breaks and keys."""
    key = Secret("canary-in-an-exception-5521").reveal()
    try:
        raise ValueError(f"first\n2026-01-01 ERROR forged {key}")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert key not in line
    assert "ValueError" in json.loads(line)["traceback"]


def test_a_wrong_log_call_shows_no_arguments(capsys: Any) -> None:
    """B10: logging itself would print the raw arguments to stderr."""
    key = Secret("canary-in-wrong-arguments-81").reveal()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("wrong")
    logger.addHandler(handler)
    logger.warning("took %d", key)
    logger.warning("took %(a)s", {"b": key})
    said = stream.getvalue() + "".join(capsys.readouterr())
    assert said.count("do not fit") == 2
    assert key not in said


@given(st.text(max_size=400), st.integers(1, 300))
def test_a_stored_reason_is_short_printable_and_fit_for_the_database(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    line.encode()


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=60), st.text(max_size=40))
def test_no_known_secret_passes(value: str, around: str) -> None:
    """Whatever the secret looks like, it does not come through."""
    assume(len(value.strip()) >= 8)
    redaction.remember(value)
    text = around + value + around
    assert value not in redact(text).replace(HIDDEN, "\0")


def test_the_registry_is_bounded() -> None:
    """A process that runs for months does not grow with each secret it meets."""
    for number in range(2000):
        redaction.remember(f"one-of-very-many-secrets-{number:05d}")
    assert len(redaction._remembered) <= redaction._MAX_REMEMBERED
    by_head = [form for forms in redaction._by_head.values() for form in forms]
    assert sorted(by_head) == sorted(redaction._remembered)
    assert redact("one-of-very-many-secrets-01999") == HIDDEN


def test_a_secret_does_not_print_pickle_copy_or_hash_itself() -> None:
    """B10, B25: neither into a message, a task argument nor a dictionary key."""
    secret = Secret("value-that-must-not-print")
    assert "value" not in f"{secret} {secret!r} {[secret]}"
    for take in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            take(secret)
    with pytest.raises(TypeError):
        json.dumps({"secret": secret})
    assert secret == Secret("value-that-must-not-print")
    assert secret != Secret("value-that-must-not-print.")
    assert secret != "value-that-must-not-print"


CANARY = "canary-7hV2kQ9xPz4Lm8Wn"


def report(*, debug: bool, message: str = "broke") -> str:
    """Raise with canaries all around and return what an error report would show."""
    request = RequestFactory().post(
        "/api/v1/keys/1/",
        data=json.dumps({"value": CANARY}),
        content_type="application/json",
        headers={
            "Authorization": f"Bearer {CANARY}",
            "X-Api-Key": CANARY,
            "X-Vault-Token": CANARY,
            "Proxy-Authorization": CANARY,
            "Cookie": f"keyvault_session={CANARY}; keyvault_csrf={CANARY}",
        },
    )
    local_variable = CANARY
    try:
        raise RuntimeError(message, len(local_variable))
    except RuntimeError:
        with override_settings(DEBUG=debug):
            reporter = Reporter(request, *sys.exc_info())
            reporter.filter = ReportFilter()
            return reporter.get_traceback_html() + reporter.get_traceback_text()


@pytest.mark.parametrize("debug", [True, False])
def test_an_error_report_shows_no_headers_cookies_bodies_or_variables(debug: bool) -> None:
    """B10, B60: also with DEBUG on by mistake."""
    shown = report(debug=debug)
    assert "RuntimeError" in shown
    assert not windows(CANARY, 12) & windows(shown, 12)


def test_an_error_report_shows_no_form_fields() -> None:
    """B60: a pasted key is a form field."""
    request = RequestFactory().post("/keys/new/", data={"secret": CANARY})
    shown = ReportFilter().get_post_parameters(request)
    assert shown == {}
    assert ReportFilter().get_safe_cookies(request) == {}
    assert ReportFilter().get_safe_settings() == {}


def test_an_error_report_hides_known_secrets_in_exception_texts() -> None:
    """B10: the text of an exception is redacted by value."""
    Secret(CANARY)
    assert CANARY not in report(debug=True, message=f"cannot use {CANARY}")


def test_errors_for_people_hold_no_secret_in_their_traceback() -> None:
    """B10: a refused paste leaves no piece of it in the exception or what it was raised from."""
    from keyvault.inventory import secret_input

    try:
        secret_input.clean(CANARY + "\u200b" + CANARY)
    except BadInput as error:
        text = "".join(traceback.format_exception(error)) + repr(error.__dict__)
    assert not windows(CANARY, 12) & windows(text, 12)
