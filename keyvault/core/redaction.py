"""Hide secrets by value wherever text leaves the process: logs, stored reasons, error reports.

Patterns alone miss keys without a known prefix, so every secret the process handles is remembered
(in memory only, bounded) and replaced wherever it turns up, also base64- or URL-encoded.
"""

import base64
import json
import re
import threading
from collections import OrderedDict
from urllib.parse import quote

HIDDEN = "[hidden]"
_MAX_REMEMBERED = 4096
_MIN_LENGTH = 8
_remembered: OrderedDict[str, None] = OrderedDict()
# The same by their beginning: a text is searched once, however many secrets there are.
_by_head: dict[str, tuple[str, ...]] = {}
_lock = threading.Lock()

# Shapes that are secret whoever made them; the value registry catches the rest.
_SHAPES = re.compile(
    r"(?i)((?:authorization|x-vault-token)['\"]?\s*[:=]\s*['\"]?(?:[a-z]+\s+)?|bearer\s+)"
    r"(?!\[hidden\])[^\s'\",;}]+"
    r"|\b(?:hvs|hvb|s)\.[A-Za-z0-9_-]{20,}|\bkvt_[A-Za-z0-9_]{16,}|\binf_[A-Za-z0-9_-]{16,}"
    r"|\bmgmt_[A-Za-z0-9_-]{16,}|\bkvc_[A-Za-z0-9_-]{16,}|\bwhsec_[A-Za-z0-9+/=]{16,}"
)


def remember(value: str) -> None:
    """Hide `value` (8 characters or more) in all text that passes `redact` from now on.

    White space around it does not count: no vendor's key is made of it, and every table is.
    """
    if len(value.strip()) < _MIN_LENGTH:
        return
    with _lock:
        for form in _forms(value):
            if form not in _remembered:
                head = form[:_MIN_LENGTH]
                _by_head[head] = (*_by_head.get(head, ()), form)
            _remembered[form] = None
            _remembered.move_to_end(form)
        while len(_remembered) > _MAX_REMEMBERED:
            _forget(_remembered.popitem(last=False)[0])


def _forget(form: str) -> None:
    head = form[:_MIN_LENGTH]
    left = tuple(one for one in _by_head[head] if one != form)
    if left:
        _by_head[head] = left
    else:
        del _by_head[head]


def _forms(value: str) -> set[str]:
    """Return the value as it may turn up: plain, quoted in a URL, in JSON, within base64 text."""
    raw = value.encode("utf-8", "backslashreplace")
    forms = {value, json.dumps(value)[1:-1], repr(value)[1:-1]}
    for quoted in (quote(raw, ""), quote(raw)):
        forms |= {quoted, re.sub("%..", lambda match: match[0].lower(), quoted)}
    for before in range(3):
        # Only what does not depend on the bytes around the value: "user:value", "value\n".
        start, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        encoded = base64.b64encode(b"\0" * before + raw).decode()[start:end]
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _MIN_LENGTH}


def redact(text: str) -> str:
    """Return `text` with every known secret and every secret-looking shape replaced."""
    found = {
        value
        for place in range(len(text) - _MIN_LENGTH + 1)
        for value in _by_head.get(text[place : place + _MIN_LENGTH], ())
        if text.startswith(value, place)
    }
    # The longest first: one secret may be the beginning of another.
    for value in sorted(found, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _SHAPES.sub(lambda match: (match.group(1) or "") + HIDDEN, text)


def one_line(text: str, limit: int = 300) -> str:
    """Redact, escape what does not print and shorten: fit for a stored reason or a log line."""
    clean = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in redact(text)
    )
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
