"""Show what runs; exit status 0 when everything does, 1 otherwise."""

import argparse
import json

from sandbox.installation import Installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="Print one JSON document.")


def main(options: argparse.Namespace) -> int:
    """Print each process with its pid, and the URLs when everything runs."""
    if not options.folder.exists():
        print(json.dumps({"running": False, "processes": {}}) if options.json else "Nothing runs.")
        return 1
    installation = Installation(options.folder)
    processes = installation.status()
    running = all(processes.values())
    urls = {"url": installation.url, "vendor_url": installation.vendor_url} if running else {}
    if options.json:
        print(json.dumps({"running": running, "processes": processes, **urls}))
    else:
        lines = [f"{name:<10} {pid or 'does not run'}" for name, pid in processes.items()]
        print("\n".join([*lines, *urls.values()]))
    return 0 if running else 1
