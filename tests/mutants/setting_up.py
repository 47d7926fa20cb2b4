"""Guards of the set-up: name, change and tests."""

from tests.mutants.guard import Guard

SETTING_UP: tuple[Guard, ...] = (
    (
        "locks are installed, not what they are made from",
        '--require-hashes "${files[@]}"',
        "-r requirements.in -r requirements-sandbox.in",
        "tests/test_set_up.py -k an_index_of_tomorrow",
    ),
    (
        "a lock that lacks something is an error",
        '"$installer/bin/uv" pip check --quiet',
        'true || "$installer/bin/uv" pip check --quiet',
        "tests/test_set_up.py -k an_index_of_tomorrow",
    ),
    (
        "nothing is compiled",
        "--no-build ",
        "",
        "tests/test_set_up.py -k would_have_to_be_compiled",
    ),
)
