"""Guards of the set-up: each as name, file, old, new and tests."""

SETTING_UP: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "locks are installed, not what they are made from",
        "scripts/bootstrap",
        '--require-hashes "${files[@]}"',
        "-r requirements.in -r requirements-sandbox.in",
        "tests/test_set_up.py -k an_index_of_tomorrow",
    ),
    (
        "a lock that lacks something is an error",
        "scripts/bootstrap",
        '"$installer/bin/uv" pip check --quiet',
        'true || "$installer/bin/uv" pip check --quiet',
        "tests/test_set_up.py -k an_index_of_tomorrow",
    ),
    (
        "nothing is compiled",
        "scripts/bootstrap",
        "--no-build ",
        "",
        "tests/test_set_up.py -k would_have_to_be_compiled",
    ),
)
