"""The `service` command line: serve, migrate, fsck, backup, restore and openapi."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from service.contract.command_line import parse
from service.process_secrets import take_secrets
from service.settings import (
    DEFAULT_DATABASE,
    DEFAULT_HOST,
    DEFAULT_PORT,
    InvalidSetting,
    Settings,
    SettingsError,
    check_port,
)

_EPILOG = """\
examples:
  assayer serve                                      SQLite in ./assayer.db, on this machine only
  assayer serve --database postgresql://me@db/assayer
  ASSAYER_TOKEN=secret assayer serve --host 0.0.0.0  for workers on other machines
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    root = argparse.ArgumentParser(
        prog="assayer",
        description="The Assayer service: store studies, assign trials to workers, serve the API and dashboard.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"assayer {version('assayer')}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    serve = add("serve", "start the service: migrate the database, then serve the API and the dashboard")
    serve.add_argument("--host", help=f"address to listen on (default {DEFAULT_HOST}; any other needs ASSAYER_TOKEN)")
    serve.add_argument("--port", help=f"port to listen on (default {DEFAULT_PORT}; 0 chooses a free port)")
    migrate = add("migrate", "migrate the database to the schema of this version")
    fsck = add("fsck", "check every invariant of the database, read-only; the service may be running")
    fsck.add_argument("--json", action="store_true", help="print every checked invariant as JSON")
    backup = add("backup", "copy an SQLite database to a new file; the service may be running")
    backup.add_argument("file", metavar="FILE", type=Path, help="the file to write; it must not exist")
    restore = add("restore", "restore a database from a backup, and invalidate earlier leases")
    restore.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        help="the backup (omit it if another command, such as pg_restore, has already restored the database)",
    )
    for command in (serve, migrate, fsck, backup, restore):
        command.add_argument(
            "--database", metavar="PATH|URL", help=f"SQLite file or postgresql:// URL (default {DEFAULT_DATABASE})"
        )
    add("openapi", "print the OpenAPI document of the API")
    return root


_SECRETS = ("ASSAYER_TOKEN", "ASSAYER_DATABASE", "PGPASSWORD")
"""Environment variables to hide from other processes. The address of a database may hold its password."""


def main(arguments: list[str] | None = None) -> int:
    """Execute a command line, by default this process's own, and return the exit status."""
    if arguments is None:
        # If there are secrets, the process restarts itself here. Afterwards they are in its memory only, not in /proc.
        os.environ.update(take_secrets(_SECRETS))
        os.umask(0o077)  # only the service's user may read the database, blobs and backups
    given = parse(parser(), arguments)
    # Import the service's packages only after the command line is known to be valid.
    from service.storage.blobs import BlobStoreError  # noqa: PLC0415
    from service.storage.database import DatabaseError  # noqa: PLC0415
    from service.storage.migrate import UnknownSchemaError  # noqa: PLC0415

    try:
        return _execute(given)
    except (SettingsError, DatabaseError, UnknownSchemaError, BlobStoreError) as error:
        sys.stderr.write(f"assayer: {error}\n")
        return 2 if isinstance(error, InvalidSetting) else 1


def _execute(given: argparse.Namespace) -> int:
    from service import main as composition  # noqa: PLC0415
    from service.storage.backup import back_up  # noqa: PLC0415
    from service.storage.database import open_database, redacted_url  # noqa: PLC0415

    if given.command == "openapi":
        sys.stdout.write(json.dumps(composition.build_app(None, None).openapi(), indent=2) + "\n")
        return 0
    overrides = {name: value for name in ("database", "host") if (value := getattr(given, name, None)) is not None}
    settings = replace(Settings.from_environment(), **overrides)
    if getattr(given, "port", None) is not None:
        settings = replace(settings, port=check_port(given.port, "--port"))
    if given.command == "migrate":
        open_database(settings.database).close()
        sys.stderr.write("assayer: the database is up to date\n")
        return 0
    if given.command == "fsck":
        return _fsck(settings.database, as_json=given.json)
    if given.command == "backup":
        back_up(settings.database, given.file)
        sys.stderr.write(f"assayer: {redacted_url(settings.database)} is backed up in {given.file}\n")
        return 0
    if given.command == "restore":
        restored = composition.restore(settings, given.file)
        sys.stderr.write(
            f"assayer: {redacted_url(settings.database)} is restored and begins epoch {restored.epoch}; "
            f"{restored.num_lost} attempts were running, and their trials wait again\n"
        )
        return 0
    listener = composition.bind(settings)
    composition.serve(settings, listener)
    return 0


_MAX_SHOWN = 10
"""The largest number of violating rows printed per invariant. The JSON output has them all."""


def _fsck(database: str, *, as_json: bool) -> int:
    """Print whether each invariant holds. Return 1 if one is violated, else 0."""
    from service.storage.database import open_read_only  # noqa: PLC0415
    from service.storage.fsck.invariants import check  # noqa: PLC0415

    with open_read_only(database) as connection:
        checked = check(connection)
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in checked], indent=2) + "\n")
    else:
        for each in checked:
            sys.stdout.write(f"{'BROKEN' if each.broken else 'ok':<7} {each.name}: {each.sentence}\n")
            for row in each.broken[:_MAX_SHOWN]:
                fields = ", ".join(f"{name} {value}" for name, value in row.items())
                sys.stdout.write(f"        {fields}\n")
            if len(each.broken) > _MAX_SHOWN:
                sys.stdout.write(f"        and {len(each.broken) - _MAX_SHOWN} more (--json shows all)\n")
    return int(any(each.broken for each in checked))


if __name__ == "__main__":
    sys.exit(main())
