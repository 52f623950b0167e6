"""The console script `worker`, and `python -m worker`: works, or does one of the other things that it can."""

from __future__ import annotations

import sys

from worker import cli, doctor, rehearsal

COMMANDS = {"doctor": doctor.main, "try": rehearsal.main}
"""What the first word may ask for; without one of these a worker works."""


def main() -> None:
    """Do what the command line says, and exit with its status."""
    arguments = sys.argv[1:]
    command = COMMANDS.get(arguments[0]) if arguments else None
    sys.exit(command(arguments[1:]) if command is not None else cli.main(arguments))


if __name__ == "__main__":
    main()
