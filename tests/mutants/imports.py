"""Guards of imports and pastes: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

_SAMPLES = "tests/keyvault/test_export_samples.py"
_NOT_KEYS = "tests/keyvault/test_not_keys.py"

IMPORTS: tuple[Guard, ...] = (
    (
        "nothing is escaped that need not be",
        """    if "'" not in value and""",
        """    if value.isalnum() and""",
        "tests/keyvault/test_env_format.py -k read_alike",
    ),
    (
        "a line without = is no name",
        "binding.error or value is None or not _NAME.fullmatch(name)",
        "binding.error",
        f"{_SAMPLES} -k no_line_makes",
    ),
    (
        "the end of a bare key is no value",
        """not value.strip(" =") or typed""",
        """not value or typed""",
        f"{_SAMPLES} -k bare_key",
    ),
    (
        "a file is recognised before its lines are read",
        "    kind = file_kinds.known_as(text, _OURS)\n",
        "    kind = None\n",
        f"{_SAMPLES} -k each_kind",
    ),
    (
        "a secret in the column of names is not shown",
        FALSE,
        "tests/keyvault/test_not_keys.py -k on_record_is_never",
    ),
    (
        "swapped columns are seen",
        """    if _is_swapped(""",
        """    if False and _is_swapped(""",
        f"{_NOT_KEYS} -k swapped",
    ),
    (
        "what does not fit is not sent",
        FALSE,
        "tests/keyvault/test_export_samples.py -k what_fits",
    ),
    (
        "a tick stands for one content",
        "\\0{new.name}\\0{secret}",
        "",
        f"{_NOT_KEYS} -k ticked",
    ),
    (
        "one pasted key of somebody else is asked about",
        FALSE,
        "tests/keyvault/test_not_keys.py -k somebody_else",
    ),
    (
        "what is no key is refused",
        GONE,
        "tests/keyvault/test_not_keys.py -k named_and_never",
    ),
    (
        "a doubt about a key is asked",
        GONE,
        "tests/keyvault/test_not_keys.py -k seldom",
    ),
    (
        "a whole file is no key",
        "    kind = file_kinds.pasted_as(text)\n",
        "    kind = None\n",
        f"{_SAMPLES} -k place_of_a_key",
    ),
    (
        "no secret becomes a name",
        FALSE,
        "tests/keyvault/test_not_keys.py -k for_a_name",
    ),
    (
        "a known secret is never a name",
        " or holds_known(name):",
        ":",
        f"{_NOT_KEYS} -k on_record_is_never",
    ),
    (
        "a key is not named by itself",
        GONE,
        "tests/keyvault/test_export_samples.py -k own_secret",
    ),
    (
        "a cut comment is said",
        'return "What stands after',
        'return "" and "What stands after',
        f"{_NOT_KEYS} -k comment",
    ),
    (
        "refused rows are no success",
        "        if bad or left or not any(one.good for one in done.rows):",
        "        if bad and options['yes']:",
        f"{_NOT_KEYS} -k exit_code",
    ),
)
