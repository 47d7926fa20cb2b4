"""A secret as text that a tool reads back byte for byte, or a refusal that names what cannot be carried.

Each format quotes in its own way, and what one tool takes for a letter is a command to the next: a
key with `$`, a quote or `#` is cut or changed without an error. Only what is sure is written.
"""

import base64
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from keyvault.core.errors import BadInput
from keyvault.models import ApiKey

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[ -~]*")
# What means something within double quotes, to one reader or another.
_ALIVE = frozenset('"\\$`')


@dataclass(frozen=True)
class Format:
    """One way to write a name and a value; `title` is for people, `where` says what reads it."""

    code: str
    title: str
    where: str
    write: Callable[[str, str], str]


def written(code: str, name: str, value: str) -> str:
    """Return `name` with `value` in this format; BadInput naming the field it cannot carry.

    The message never repeats the value.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            (
                f"“{name[:60]}” cannot be the name of a variable: letters, digits and _ only, and no "
                "digit first. Nothing was written."
            ),
            code="bad_name",
        )
    return FORMATS[code].write(name, value)


def _refuse(name: str, title: str, what: str) -> BadInput:
    return BadInput(
        (
            f"{title} cannot carry the value of {name}: it contains {what}. Nothing was "
            "written. Choose another format, or fetch the key by the API."
        ),
        code="not_carried",
        details={"field": name},
    )


def _dotenv(name: str, value: str) -> str:
    """Write for python-dotenv.

    It fills in ${…} even within single quotes, with no escape; and it takes the last backslash of a
    value together with the closing quote, so that the value runs on into the next line.
    """
    if not _PLAIN.fullmatch(value):
        raise _refuse(name, "A .env file", "a line break or a character beyond plain ASCII")
    if "${" in value:
        raise _refuse(name, "A .env file", "“${”, which is filled in when it is read")
    if value.endswith("\\"):
        raise _refuse(name, "A .env file", "a backslash at its end, which would hide the quote")
    return f"{name}={_quoted(value)}"


def _quoted(value: str) -> str:
    """Quote so that every reader of such files takes the same, where there is a way at all.

    Only python-dotenv and a few others know an escape within single quotes; shells, systemd, node and
    the rest keep the backslash, or run on into the next line. So nothing is escaped that need not be.
    """
    # guard: nothing is escaped that need not be
    if "'" not in value and "\\\\" not in value:
        return f"'{value}'"
    if not _ALIVE & set(value):
        return f'"{value}"'
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _env_file(name: str, value: str) -> str:
    """Write for `docker run --env-file`: it takes all after the = as it is, quotes included."""
    if not _PLAIN.fullmatch(value) or value != value.strip():
        raise _refuse(name, "A docker env file", "a line break, outer space or non-ASCII character")
    return f"{name}={value}"


def _shell(name: str, value: str) -> str:
    if "\0" in value:
        raise _refuse(name, "A shell", "a NUL")
    return f"export {name}={shlex.quote(value)}"


def _json(name: str, value: str) -> str:
    return json.dumps({name: value})


def _yaml(name: str, value: str) -> str:
    return f"{name}: {_yaml_text(value)}"


def _compose(name: str, value: str) -> str:
    """Write for `environment:` of a compose file, where $ stands for a variable and $$ for itself."""
    return f"{name}: {_yaml_text(value.replace('$', '$$'))}"


def _kubernetes(name: str, value: str) -> str:
    """Write for `data:` of a Secret: encoded once, and without the newline that `echo` adds.

    Quoted: base64 may look like a number or a null to YAML.
    """
    return f'{name}: "{base64.b64encode(value.encode()).decode()}"'


def _yaml_text(value: str) -> str:
    return '"' + "".join(map(_yaml_character, value)) + '"'


def _yaml_character(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if 32 <= code < 127:
        return character
    return f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"


FORMATS = {
    one.code: one
    for one in (
        Format("dotenv", ".env", "read by python-dotenv", _dotenv),
        Format("shell", "Shell", "read by sh with “.” or eval", _shell),
        Format("compose", "Compose file", "under environment: of a service", _compose),
        Format("env_file", "docker --env-file", "taken as it is, without quotes", _env_file),
        Format("json", "JSON", "one object", _json),
        Format("yaml", "YAML", "one line of a mapping", _yaml),
        Format("kubernetes", "Kubernetes", "under data: of a Secret", _kubernetes),
    )
}


def lines(name: str, value: str) -> list[tuple[Format, str, str]]:
    """Return each format with its line and an empty text, or with no line and why there is none."""
    found = []
    for code, one in FORMATS.items():
        try:
            found.append((one, written(code, name, value), ""))
        except BadInput as error:
            found.append((one, "", error.message))
    return found


def env_file(key: ApiKey, token: str) -> str:
    """Return the lines for a .env file: the token and the key's number, never the key itself."""
    return f"KEYVAULT_URL={settings.BASE_URL}\nKEYVAULT_TOKEN={token}\nKEYVAULT_KEY_ID={key.pk}\n"


def wrapper(key: ApiKey, variable: str) -> str:
    """Return the line that runs a program with the key in `variable`, and anew after a rotation."""
    return f"python3 keyvault_run.py --set {variable}={key.pk} -- YOUR-PROGRAM\n"


def shell(variable: str) -> str:
    """Return the lines for a shell that loaded the .env file; the key ends up in `variable`."""
    return (
        f'export {variable}="$(curl -fsS -H "Authorization: Bearer $KEYVAULT_TOKEN" \\\n'
        '  "$KEYVAULT_URL/api/v1/keys/$KEYVAULT_KEY_ID/secret" \\\n'
        '  | python3 -c \'import json, sys; print(json.load(sys.stdin)["secret"])\')"\n'
    )
