"""End what runs: through its launcher when there is one, else by the pid files."""

import argparse

from sandbox.installation import Installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no further options."""


def main(options: argparse.Namespace) -> int:
    """End everything that runs in the folder."""
    if not options.folder.exists():
        print("Nothing runs.")
        return 0
    stop_everything(Installation(options.folder))
    print("Nothing runs any more; the data stay.")
    return 0


def stop_everything(installation: Installation) -> None:
    """Let the launcher end everything, then end what it could not."""
    installation.stop_launcher()
    installation.stop()
