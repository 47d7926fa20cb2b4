"""Run management commands as people and scripts do: in this process, or as a process of their own."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from tests import plugin

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one JSON document on standard output."""
        return json.loads(self.out)


def call(name: str, *arguments: object, stdin: bytes = b"") -> Ran:
    """Run a command in this process with `stdin`; its exit code is what a shell would see."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    code: Any = 0
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        call_command(name, *map(str, arguments), stdout=out, stderr=err)
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    except SystemExit as error:
        code = error.code
    finally:
        sys.stdin = before
    return Ran(int(code), out.getvalue(), err.getvalue())


def manage(
    stack: plugin.Stack,
    *arguments: object,
    stdin: str | bytes = "",
    kind: str = "web",
    **extra: str,
) -> Ran:
    """Run `manage.py` as a process that has the settings of a `kind` process, and `stdin`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *map(str, arguments)],
        cwd=ROOT,
        env={**environment, **stack.environment(kind), **extra},
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
