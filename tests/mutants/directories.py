"""Guards of directories and calendars: each as name, file, old, new and tests."""

DIRECTORIES: tuple[tuple[str, str, str, str, str], ...] = ()
