"""Real servers from pip packages, each in a folder of its own: Postgres, Valkey, OpenBao."""
