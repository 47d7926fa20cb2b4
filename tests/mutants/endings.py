"""Guards of holds on keys, and their end: each as name, file, old, new and tests."""

ENDINGS: tuple[tuple[str, str, str, str, str], ...] = ()
