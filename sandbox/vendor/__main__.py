"""`python -m sandbox.vendor --folder DIR [--port N]`: run the vendor until SIGTERM or SIGINT.

Writes DIR/port once it listens and DIR/control_token (mode 0600). Port 0, the default, is the port of
the last time when that is free, else any free one.
"""

import argparse
import contextlib
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from sandbox.vendor.server import VendorServer
from sandbox.vendor.state import State


def main() -> None:
    """Run the vendor."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.vendor", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where it keeps everything")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    arguments = parser.parse_args()
    os.umask(0o077)
    folder: Path = arguments.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    state = State(folder)
    server = _listen(folder, arguments.port, state, _token(folder))
    _write(folder / "port", str(server.server_port))
    print(f"the sandbox vendor listens on http://127.0.0.1:{server.server_port}", flush=True)
    _run(server, state)


def _run(server: VendorServer, state: State) -> None:
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        threading.Event().wait()
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        with state.lock:
            state.close()


def _end(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not cut the orderly end short.
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(0)


def _listen(folder: Path, port: int, state: State, token: str) -> VendorServer:
    remembered, port_file = 0, folder / "port"
    with contextlib.suppress(OSError, ValueError):
        remembered = int(port_file.read_text())
    # Whoever waits for the file must not find that of the last time.
    port_file.unlink(missing_ok=True)
    for wanted in [port] if port else [remembered, 0]:
        try:
            return VendorServer(wanted, state, token)
        except OSError as error:
            problem = error.strerror
    sys.exit(f"Port {port} on 127.0.0.1 cannot be used: {problem}. Give another one with --port.")


def _token(folder: Path) -> str:
    file = folder / "control_token"
    if not file.exists():
        _write(file, secrets.token_urlsafe(24))
    return file.read_text().strip()


def _write(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(file)


if __name__ == "__main__":
    main()
