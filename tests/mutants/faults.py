"""Guards of the service under attack and faults: each as name, file, old, new and tests."""

FAULTS: tuple[tuple[str, str, str, str, str], ...] = ()
