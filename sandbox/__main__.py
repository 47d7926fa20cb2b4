"""`python -m sandbox COMMAND`: the whole installation in one folder. Each command is a module."""

import argparse
import importlib
import sys
from pathlib import Path

from sandbox.installation import default_folder
from sandbox.services.process import MissingPart, StartFailed, in_words

# Name, and what it does; `sandbox/commands/<name>.py` has main(options) -> exit status.
COMMANDS = {
    "run": "start everything and stay; Ctrl-C ends everything",
    "stop": "end what runs, also what a killed launcher left behind",
    "status": "show what runs",
    "demo": "show two rotations from nothing to their proof, and judge them",
    "clean": "end what runs and delete the installation with all its data",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command named in the arguments and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--folder", type=Path, default=default_folder(), help="default: .run")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text)
        module = importlib.import_module(f"sandbox.commands.{name}")
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    options = parser.parse_args(arguments)
    try:
        return int(options.main(options))
    except (MissingPart, StartFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(in_words(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
