"""Guards of keys and tokens that must be neither stuck nor lost: each as name, file, old, new and tests."""

CUSTODY: tuple[tuple[str, str, str, str, str], ...] = ()
