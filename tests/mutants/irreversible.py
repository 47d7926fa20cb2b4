"""Guards of calls that nobody can take back: each as name, file, old, new and tests."""

IRREVERSIBLE: tuple[tuple[str, str, str, str, str], ...] = ()
