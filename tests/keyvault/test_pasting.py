"""What people paste: cleaned and told so, or refused with the reason and without the key."""

import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyvault.core.errors import BadInput
from keyvault.inventory import secret_input
from tests.keyvault.helpers import windows

pytestmark = pytest.mark.pure

KEY = "inf_Q7x-9ZkT.w2LmP4vB8nR"
LETTERS = string.ascii_letters + string.digits + "-_.~+/"
keys = st.text(LETTERS, min_size=20, max_size=200).filter(
    lambda text: not secret_input._MASKED.search(text) and text not in ("Bearer", "Token")
)


def refusal(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        secret_input.clean(text)
    return caught.value


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        " {}",
        "{} ",
        "\t{}\t",
        "{}\n",
        "{}\r\n",
        "\r\n\r\n{}",
        '"{}"',
        "'{}'",
        "`{}`",
        '" {} "',
        "Bearer {}",
        "bearer {}",
        "BEARER   {}",
        "Token {}",
        "Authorization: Bearer {}",
        "authorization:Bearer {}",
        "x-api-key: {}",
        '"Bearer {}"',
        '"Authorization: Bearer {}"',
        "INFLUTICS_API_KEY={}",
        "INFLUTICS_API_KEY = {}",
        'INFLUTICS_API_KEY="{}"',
        "INFLUTICS_API_KEY='{}'\n",
        "export INFLUTICS_API_KEY={}",
        '"INFLUTICS_API_KEY={}"',
        "my_key_2='{}'",
    ],
)
def test_it_takes_off_what_surrounds_a_key_and_says_so(around: str) -> None:
    """B37, B96: outer white space, quotes, header names, Bearer and NAME= are not the key."""
    pasted = secret_input.clean(around.format(KEY))
    assert pasted.secret.reveal() == KEY
    assert bool(pasted.notes) == (around != "{}")
    assert len(pasted.notes) == len(set(pasted.notes))
    assert not any(KEY in note for note in pasted.notes)


@pytest.mark.parametrize(
    "key",
    [
        "a" * 8,
        "plainhex0123456789abcdef",
        "with.dots.in.it.and-dashes",
        "base64+with/signs==",
        "key_with_padding=",
        "key_with_padding==",
        "Bearer-is-a-part-of-this-one",
        "token_abcdefgh",
        "$ecret!%&()[]{}<>|;:,?#@^~",
        "quo\"ted'inside`it",
        "**two-stars-are-not-a-mask",
        "xxx-three-are-not-a-mask",
        "..two-dots",
    ],
)
def test_it_leaves_a_key_as_it_is(key: str) -> None:
    """B06, B96: what only resembles a mask, a prefix or an assignment belongs to the key."""
    pasted = secret_input.clean(key)
    assert pasted.secret.reveal() == key
    assert pasted.notes == []


def test_it_keeps_the_letter_case() -> None:
    """B96: keys compare byte by byte."""
    assert secret_input.clean("abcdEFGH").secret != secret_input.clean("ABCDefgh").secret


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (KEY[:10] + "\n" + KEY[10:], 11),
        (KEY[:10] + "\r\n" + KEY[10:], 11),
        (KEY[:4] + " " + KEY[4:], 5),
        (KEY[:4] + "\t" + KEY[4:], 5),
        (KEY + "\n" + KEY, len(KEY) + 1),
        ("Bearer Bearer " + KEY[:6] + " x", 7),
    ],
)
def test_it_refuses_white_space_inside_with_its_position(text: str, position: int) -> None:
    """B37: a wrapped mail, two keys in one paste."""
    error = refusal(text)
    assert error.code == "inner_space"
    assert error.details == {"position": position}
    assert f"character {position}" in error.message


@pytest.mark.parametrize(
    "code_point",
    [
        0x00A0,  # no-break space
        0x200B,  # zero-width space
        0x200D,
        0x2014,  # em dash
        0x028B,  # looks like v
        0x0430,  # Cyrillic a
        0xFF21,  # full-width A
        0x00AD,  # soft hyphen
        0x200F,  # right-to-left mark
        0x202E,
        0x2028,
        0xFEFF,  # byte order mark
        0x0000,
        0x0007,
        0x001B,
        0x007F,
        0x0085,
        0x001C,
        0xD800,  # a lone surrogate, as JSON may carry
        0x1F511,
    ],
)
@pytest.mark.parametrize("where", [0, 7, len(KEY)])
def test_it_refuses_invisible_and_look_alike_characters(code_point: int, where: int) -> None:
    """B85: refused with position and code point at the start, inside and at the end."""
    error = refusal(KEY[:where] + chr(code_point) + KEY[where:])
    assert error.code == "odd_character"
    assert error.details == {"position": where + 1, "code_point": f"U+{code_point:04X}"}
    assert f"U+{code_point:04X}" in error.message
    assert error.message.isprintable()
    assert not windows(KEY, 8) & windows(error.message, 8)


@pytest.mark.parametrize(
    "text",
    [
        "inf_****abcd",
        "***abcdefgh",
        "****************",
        "****" + KEY,
        "inf_...abcd",
        "inf_xxxxxxxxabcd",
        "XXXXXXXXXXXX",
        "inf_••••••••abcd",
        "inf_…abcd",
        "●●●●●●●●",
        "····abcdabcd",
        "[hidden]",
        "[REDACTED]",
        "redacted",
        "Bearer ********",
        'INFLUTICS_API_KEY="inf_****abcd"',
    ],
)
def test_it_refuses_a_masked_key(text: str) -> None:
    """B06: a mask, also one in front of a real key, is refused and never stored."""
    error = refusal(text)
    assert error.code == "masked"
    assert error.status == 400


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\r\t ", '""', "''", '" "', "Bearer", "Bearer ", "x_y=", "'", "abc", "a" * 7],
)
def test_it_refuses_what_is_empty_or_too_short(text: str) -> None:
    assert refusal(text).code in ("empty", "too_short")


@pytest.mark.parametrize("length", [64, 233, 351, 1700, 4096])
def test_it_keeps_long_keys_whole(length: int) -> None:
    """B62: nothing is cut up to the limit."""
    key = "k" * (length - 1) + "z"
    assert secret_input.clean(f" {key}\n").secret.reveal() == key


@pytest.mark.parametrize("length", [4097, 10_240, 65_536, 2 * 1024 * 1024])
def test_it_refuses_longer_keys_with_the_limit(length: int) -> None:
    """B62: a clear answer instead of a cut key."""
    error = refusal("k" * length)
    assert error.code == "too_long"
    assert error.details == {"length": length, "limit": 4096}
    assert "4,096" in error.message


@pytest.mark.parametrize("text", ["a_" * 50_000 + "!", "A_B" + " " * 100_000 + "x", "'" * 60_000])
def test_hostile_text_takes_no_long_time(text: str) -> None:
    """The patterns cannot be made to run away."""
    refusal(text)


@given(st.text(max_size=300))
def test_it_never_returns_anything_but_one_visible_ascii_word(text: str) -> None:
    """Whatever is pasted: the result fits a header as it is, or there is none."""
    try:
        secret = secret_input.clean(text).secret.reveal()
    except BadInput:
        return
    assert 8 <= len(secret) <= 4096
    assert secret.isascii()
    assert all(33 <= ord(character) < 127 for character in secret)
    assert secret in text


@given(keys, st.integers(0, 200), st.sampled_from(" \n\t\u200b\u2014\x00é") | st.just("****"))
def test_no_error_repeats_any_part_of_the_key(key: str, where: int, damage: str) -> None:
    """B85: the text of an error holds no piece of the key, in its message or its details."""
    text = key[: where % len(key)] + damage + key[where % len(key) :]
    try:
        secret_input.clean(text)
    except BadInput as error:
        shown = f"{error.message} {error!r} {error.details} {error.args}"
        assert not windows(key, 8) & windows(shown, 8)


@given(keys, st.sampled_from(["{}", " {}\n", "Bearer {}", '"{}"', "A_KEY={}", "x-api-key: '{}'"]))
def test_cleaning_twice_changes_nothing(key: str, around: str) -> None:
    assume(key[0] not in "'\"`")
    assume(not secret_input._ASSIGNMENT.match(key))
    first = secret_input.clean(around.format(key)).secret.reveal()
    again: Any = secret_input.clean(first)
    assert first == key
    assert again.secret.reveal() == first
    assert again.notes == []
