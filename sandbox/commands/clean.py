"""End what runs and delete the installation: data, secrets, logs."""

import argparse
import shutil

from sandbox.commands.stop import stop_everything
from sandbox.installation import Installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no further options."""


def main(options: argparse.Namespace) -> int:
    """Delete the folder, and what the servers keep outside of it."""
    if options.folder.exists():
        installation = Installation(options.folder)
        stop_everything(installation)
        if installation.settings.postgres:
            installation.settings.postgres.remove()
        shutil.rmtree(options.folder)
    print("The installation is gone.")
    return 0
