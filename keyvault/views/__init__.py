"""Pages about keys and people."""
