"""The console script `worker`, and `python -m worker`; the command line is `worker.cli`'s."""

from __future__ import annotations

import sys

from worker.cli import main as cli_main


def main() -> None:
    """Work, and exit with the command line's status."""
    sys.exit(cli_main())


if __name__ == "__main__":
    main()
