"""Entry point of the `study` command: parses the command line, calls the command's function and prints errors.

Every failure becomes one sentence and an exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from service.cli.parser import conflict, parser
from service.client.errors import ClientError
from service.contract.command_line import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Execute one command line and return its exit status."""
    whole = parser()
    arguments = parse(whole, argv)
    if (contradiction := conflict(arguments)) is not None:
        whole.error(contradiction)
    from service.cli.commands.table import COMMANDS  # noqa: PLC0415
    from service.client.client import Client  # noqa: PLC0415 - `study --help` waits for neither httpx nor rich

    try:
        with Client(arguments.server) as client:
            COMMANDS[arguments.command](client, arguments)
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
