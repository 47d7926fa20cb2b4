"""B36: what is written for a tool is read back by that tool byte for byte, or it is not written."""

import base64
import io
import json
import shutil
import subprocess

import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from keyvault.core.errors import BadInput
from keyvault.inventory.export_formats import FORMATS, lines, written

pytestmark = pytest.mark.pure
NAME = "INFLUTICS_API_KEY"
NASTY = [
    *("a$b", "$2a$10$x/y", "a'b\"c", "a#b", "a #b", "a b", "a\\b", "a\\'b", "\\", "'", '"', "''"),
    *("==padding==", "%s", "`id`", "-n", "$(id)", "$$", "a$", "{}", "a: b", "- a", "!x", "&x"),
    *("*x", "@x", "~", "null", "yes", "0123", "1e5", "a\\nb", "\\$x", "'$x'", "x'", "x\\"),
]
BY_ONE_LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


def shell_reads(text):
    script = f'{text}\nprintf %s "${NAME}"'
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    return done.stdout.decode()


def env_file_reads(text):
    """What `docker run --env-file` does with a line: all after the first = is the value."""
    name, _, value = text.partition("=")
    assert name == NAME
    return value


def dotenv_reads(text):
    """Read the line as one of a file: a value must not run on into what follows."""
    found = dotenv_values(stream=io.StringIO(f"BEFORE='1'\n{text}\nAFTER='2'\n"))
    assert list(found) == ["BEFORE", NAME, "AFTER"]
    return found[NAME]


READERS = {
    "dotenv": dotenv_reads,
    "shell": shell_reads,
    "json": lambda text: json.loads(text)[NAME],
    "yaml": lambda text: yaml.safe_load(text)[NAME],
    # Compose reads YAML first; then $$ is a dollar sign, and any other $ would be a variable.
    "compose": lambda text: "$".join(yaml.safe_load(text)[NAME].split("$$")),
    "kubernetes": lambda text: base64.b64decode(yaml.safe_load(text)[NAME], validate=True).decode(),
    "env_file": env_file_reads,
}


def test_every_format_is_read_back_by_a_real_reader():
    assert set(READERS) == set(FORMATS)


@pytest.mark.parametrize("code", FORMATS)
def test_nasty_values_come_back_byte_for_byte(code, monkeypatch):
    """B36: also when variables exist that the value seems to name."""
    for name in ("b", "x", "a", "2a", "_"):
        monkeypatch.setenv(name, "filled in")
    for value in NASTY:
        if code == "dotenv" and value.endswith("\\"):
            continue  # refused, as the test below shows
        text = written(code, NAME, value)
        assert "\n" not in text
        assert READERS[code](text) == value, code


@pytest.mark.parametrize("code", [code for code in FORMATS if code != "shell"])
@settings(max_examples=60, deadline=None)
@given(value=BY_ONE_LINE)
def test_any_plain_value_comes_back_or_is_refused(code, value):
    refused = {
        "dotenv": "${" in value or value.endswith("\\"),
        "env_file": value != value.strip(),
    }
    if refused.get(code):
        with pytest.raises(BadInput, match=NAME):
            written(code, NAME, value)
    else:
        assert READERS[code](written(code, NAME, value)) == value


@pytest.mark.parametrize("code", ["json", "yaml", "kubernetes", "compose"])
@settings(max_examples=40, deadline=None)
@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_formats_that_can_carry_anything_do(code, value):
    assert READERS[code](written(code, NAME, value)) == value


# Readers of .env files that know no escape within quotes; each reads the line as one of a file.
SOURCED = '. ./.env\nprintf \'%s\\0\' "$BEFORE" "$INFLUTICS_API_KEY" "$AFTER"'
NODE = "const e = process.env, w = process.stdout; "
NODE += "for (const n of ['BEFORE', 'INFLUTICS_API_KEY', 'AFTER']) w.write(e[n] + '\\0')"
OTHER_READERS = {
    "sh": ["sh", "-c", SOURCED],
    "bash": ["bash", "-c", SOURCED],
    "dash": ["dash", "-c", SOURCED],
    "zsh": ["zsh", "-c", SOURCED],
    "busybox": ["busybox", "sh", "-c", SOURCED],
    "node": ["node", "--env-file=.env", "-e", NODE],
}
HERE = sorted(one for one, command in OTHER_READERS.items() if shutil.which(command[0]))


def needs_an_escape(value):
    """Return whether there is no way to write the value that every reader understands."""
    return ("'" in value or "\\\\" in value) and bool(set('"\\$`') & set(value))


def test_a_shell_is_always_there_to_try():
    assert {"sh", "bash"} <= set(HERE)


@pytest.mark.parametrize("reader", HERE)
def test_a_dotenv_line_is_read_alike_by_those_that_know_no_escape(reader, tmp_path):
    """P9: a backslash was doubled and a quote cut by every reader but one family."""
    typed = ["abc\\def12345", "abc'def12345", "it's", "C:\\dir\\x", "a'b c#d", 'x"y', "'q'", "%41"]
    values = [
        one for one in [*NASTY, *typed] if not one.endswith("\\") and not needs_an_escape(one)
    ]
    assert len(values) > 30
    for value in values:
        lines_ = ["BEFORE='1'", written("dotenv", NAME, value), "AFTER='2'", ""]
        (tmp_path / ".env").write_text("\n".join(lines_))
        done = subprocess.run(OTHER_READERS[reader], cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout.decode().split("\0")[:-1] == ["1", value, "2"], (reader, value)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("abc\\def", "'abc\\def'"),
        ("abc'def", '"abc\'def"'),
        ('a$b"c`d', "'a$b\"c`d'"),
        ("a'b$c", "'a\\'b$c'"),
        ("a\\\\b", "'a\\\\\\\\b'"),
    ],
)
def test_nothing_is_escaped_that_need_not_be(value, line):
    """P9: the escape of python-dotenv is the last resort."""
    assert written("dotenv", NAME, value) == f"{NAME}={line}"


def test_a_whole_file_of_the_shell_comes_back():
    """Many values in one go: one that ends its quotes too early would eat the next."""
    names = [f"V{number}" for number in range(len(NASTY))]
    script = "\n".join(written("shell", *pair) for pair in zip(names, NASTY, strict=True))
    script += "\nprintf '%s\\0' " + " ".join(f'"${name}"' for name in names)
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == NASTY
    carried = {n: v for n, v in zip(names, NASTY, strict=True) if not v.endswith("\\")}
    text = "\n".join(written("dotenv", *pair) for pair in carried.items())
    assert dotenv_values(stream=io.StringIO(text)) == carried


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("dotenv", "a${b}"),
        ("dotenv", "a\nb"),
        ("dotenv", "é"),
        ("env_file", "a\nb"),
        ("env_file", "  a"),
        ("dotenv", "a#\\"),
        ("shell", "a\0b"),
    ],
)
def test_what_a_format_cannot_carry_is_refused_and_the_field_is_named(code, value):
    with pytest.raises(BadInput, match=NAME) as caught:
        written(code, NAME, value)
    assert caught.value.code == "not_carried"
    assert value not in caught.value.message


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "É", "A$B"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(BadInput, match="cannot be the name"):
        written("shell", name, "x")


def test_kubernetes_is_encoded_once_without_a_newline():
    assert written("kubernetes", NAME, "abc") == f'{NAME}: "YWJj"'


def test_all_lines_are_offered_and_what_is_missing_says_why():
    offered = {one.code: (text, why) for one, text, why in lines(NAME, "a${b}")}
    assert set(offered) == set(FORMATS)
    assert offered["dotenv"][0] == ""
    assert "cannot carry" in offered["dotenv"][1]
    assert offered["shell"] == (f"export {NAME}='a${{b}}'", "")
