"""Guards of imports and pastes: each as name, file, old, new and tests."""

IMPORTS: tuple[tuple[str, str, str, str, str], ...] = ()
