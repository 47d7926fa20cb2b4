"""Guards of who is known to hold a key: each as name, file, old, new and tests."""

HOLDERS: tuple[tuple[str, str, str, str, str], ...] = ()
