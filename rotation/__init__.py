"""How and when a key is replaced."""
