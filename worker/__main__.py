"""The console script `worker`, and `python -m worker`: works, or looks after what it needs (`worker doctor`)."""

from __future__ import annotations

import sys

from worker import cli, doctor


def main() -> None:
    """Do what the command line says, and exit with its status."""
    arguments = sys.argv[1:]
    sys.exit(doctor.main(arguments[1:]) if arguments[:1] == ["doctor"] else cli.main(arguments))


if __name__ == "__main__":
    main()
