"""The `assayer` command: one name for the service, the worker and the `study` command.

It replaces its process by the command that was asked for, so it imports neither the service nor the worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version

COMMANDS: dict[str, tuple[list[str], str]] = {
    "serve": (["service", "serve"], "serve the API and the dashboard"),
    "worker": (["worker"], "train the trials of the service on this machine: assayer worker --gpu 0"),
    "study": (["service.cli.main"], "create, watch and change studies: assayer study create study.yaml"),
    "doctor": (["worker", "doctor"], "check what a worker needs on this machine"),
    "try": (["worker", "try"], "train one trial of a study file in the foreground, without recording it"),
    "migrate": (["service", "migrate"], "upgrade the database to the schema of this version"),
    "fsck": (["service", "fsck"], "check every invariant of the database"),
    "backup": (["service", "backup"], "copy an SQLite database to a new file"),
    "restore": (["service", "restore"], "make a database from a backup"),
    "openapi": (["service", "openapi"], "print the OpenAPI document of the API"),
}
"""Command -> the arguments of `python -m` that execute it, and its line of help."""

_HELP = """\
usage: assayer COMMAND [ARGUMENTS]

Assayer is a hyperparameter search service: a server, workers on GPU machines, and a command for studies.

commands:
{commands}

`assayer COMMAND --help` describes a command. `worker` and `study` are short for `assayer worker` and `assayer study`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Execute a command line in place of this process; return an exit status only if there is nothing to execute."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        lines = "\n".join(f"  {command:<10}{text}" for command, (_, text) in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands=lines))
        return 0
    if name == "--version":
        sys.stdout.write(f"assayer {version('assayer')}\n")
        return 0
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "`assayer --help` lists the commands"
        sys.stderr.write(f"assayer: there is no command {name!r}; {remedy}\n")
        return 2
    module, *first = COMMANDS[name][0]
    sys.stdout.flush()
    command = [sys.executable, "-m", module, *first, *arguments]
    return os.execv(sys.executable, command)  # noqa: S606 - the modules are those above


if __name__ == "__main__":
    sys.exit(main())
