"""Guards of what counts as proof that an old key is not needed: each as name, file, old, new and tests."""

EVIDENCE: tuple[tuple[str, str, str, str, str], ...] = ()
