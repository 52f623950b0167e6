"""The console script `worker`, and `python -m worker`: works, or does one of the other things that it can."""

from __future__ import annotations

import sys

from service.process_secrets import take_secrets


def main() -> None:
    """Do what the command line says, and exit with its status."""
    # First of all: with a token this process starts again, without what it has loaded.
    token = take_secrets(["ASSAYER_TOKEN"]).get("ASSAYER_TOKEN")
    from worker import cli, doctor, rehearsal  # noqa: PLC0415

    match sys.argv[1:]:
        case ["doctor", *arguments]:
            sys.exit(doctor.main(arguments, token))
        case ["try", *arguments]:
            sys.exit(rehearsal.main(arguments, token))
        case arguments:
            sys.exit(cli.main(arguments, token))


if __name__ == "__main__":
    main()
