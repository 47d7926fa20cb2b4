"""Guards of imports and pastes: each as name, file, old, new and tests."""

IMPORTS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "nothing is escaped that need not be",
        "keyvault/env_format.py",
        """    if "'" not in value and""",
        """    if value.isalnum() and""",
        "tests/keyvault/test_env_format.py -k read_alike",
    ),
)
