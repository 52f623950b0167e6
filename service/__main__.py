"""The `service` command: serve | migrate | openapi."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from service.settings import DEFAULT_DATABASE, DEFAULT_HOST, DEFAULT_PORT, Settings, SettingsError

_EPILOG = """\
examples:
  service serve                                      SQLite in ./assayer.db, on this machine only
  service serve --database postgresql://me@db/assayer
  ASSAYER_TOKEN=secret service serve --host 0.0.0.0  for workers on other machines
"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(
        prog="service",
        description="The search service: keeps studies, hands out trials, shows them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the API and the dashboard; migrates the database first")
    serve.add_argument("--host", help=f"address to bind (default {DEFAULT_HOST}; any other needs ASSAYER_TOKEN)")
    serve.add_argument("--port", type=int, help=f"port to bind (default {DEFAULT_PORT}; 0 takes a free one)")
    migrate = commands.add_parser("migrate", help="bring the database to this version's schema")
    for command in (serve, migrate):
        command.add_argument(
            "--database", metavar="PATH|URL", help=f"SQLite file or postgresql:// URL (default {DEFAULT_DATABASE})"
        )
    commands.add_parser("openapi", help="print the API's OpenAPI document")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line; returns the exit status."""
    given = parser().parse_args(arguments)
    # The service's rooms load only once the command line is known to be good.
    from service.storage.blobs import BlobStoreError  # noqa: PLC0415
    from service.storage.database import DatabaseError  # noqa: PLC0415
    from service.storage.migrate import UnknownSchemaError  # noqa: PLC0415

    try:
        return _carry_out(given)
    except (SettingsError, DatabaseError, UnknownSchemaError, BlobStoreError) as error:
        sys.stderr.write(f"service: {error}\n")
        return 1


def _carry_out(given: argparse.Namespace) -> int:
    from service import main as composition  # noqa: PLC0415
    from service.storage.database import open_database  # noqa: PLC0415

    if given.command == "openapi":
        sys.stdout.write(json.dumps(composition.build_app(None, None).openapi(), indent=2) + "\n")
        return 0
    told = {name: value for name in ("database", "host", "port") if (value := getattr(given, name, None)) is not None}
    settings = replace(Settings.from_environment(), **told)
    if given.command == "migrate":
        open_database(settings.database).close()
        sys.stderr.write("service: the database is up to date\n")
        return 0
    listener = composition.bind(settings)
    composition.serve(settings, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
