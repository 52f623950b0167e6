"""The composition root: the only place that builds database, context and application."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service import log_config
from service.api.access import AccessRules, is_loopback
from service.api.app import App
from service.api.app import mount as mount_api
from service.api.stream import RevisionPoller
from service.background import run_maintenance
from service.contract.catalogue import load_catalogue
from service.dashboard.mount import mount as mount_dashboard
from service.http_server import ConnectionLimits, connection_settings, raise_file_limit
from service.numeric_threads import use_one_thread
from service.settings import InvalidSetting, Settings, SettingsError
from service.storage.backup import require_there, restoring
from service.storage.blobs import GIB, BlobStore
from service.storage.database import Database, open_database, redacted_url, sqlite_path
from service.storage.unit_of_work import Transactor
from service.usecases.blobs import attach_blobs
from service.usecases.context import Context, Limits
from service.usecases.maintenance.restore import Restored, begin_epoch

log = logging.getLogger(__name__)

_GRACE_SECONDS = 4
"""Seconds that a shutdown waits for running requests."""

_STOP_SECONDS = 8.0
"""Seconds that a shutdown may take in all. Afterwards the process exits even if threads are still running."""


_DEFAULT_RULES = AccessRules()


def new_id() -> str:
    """Return an opaque id: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def build_context(settings: Settings, database: Database, blobs: BlobStore | None = None) -> Context:
    """Build the context of the use cases."""
    return Context(
        database=database,
        transact=Transactor(database, new_id),
        catalogue=load_catalogue(),
        new_id=new_id,
        limits=Limits(
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            reaper_seconds=settings.reaper_seconds,
            suggest_seconds=settings.suggest_seconds,
        ),
        blobs=blobs,
    )


def open_blobs(settings: Settings, database: Database) -> BlobStore:
    """Open the database's blob store, or create it.

    Raises:
        BlobStoreError: the folder is not the one with this database's blobs.
    """
    beside = sqlite_path(settings.database) or Path("assayer.db")
    directory = Path(settings.blobs) if settings.blobs else beside.with_name(f"{beside.stem}-blobs")
    budget_bytes = int(settings.blobs_gib * GIB) if settings.blobs_gib is not None else None
    return attach_blobs(Transactor(database, new_id), directory, budget_bytes)


def build_app(context: Context | None, token: str | None, rules: AccessRules = _DEFAULT_RULES) -> FastAPI:
    """Build the application. Without a context it can only describe itself."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        assert context is not None
        upkeep = asyncio.create_task(run_maintenance(context))
        yield
        upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upkeep

    app = App(
        token,
        rules,
        title="Assayer",
        summary="A hyperparameter search service",
        version=version("assayer"),
        lifespan=lifespan,
        docs_url=None,  # the dashboard serves them from its own files
        redoc_url=None,
    )
    mount_api(app, context)
    mount_dashboard(app)
    return app


def access_rules(settings: Settings) -> AccessRules:
    """Return the access rules and body limits that the settings define."""
    return AccessRules(settings.host_names(), int(settings.body_kib * 1024), settings.stall_seconds)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the connection limits that the settings define, and raise the process's limit of open files."""
    return ConnectionLimits(settings.stall_seconds, int(settings.connections_per_client), raise_file_limit())


def bind(settings: Settings) -> socket.socket:
    """Bind the address to serve at.

    Raises:
        InvalidSetting: the host is not an address of this machine.
        SettingsError: the address is not loopback and there is no token, or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, ValueError):
        raise InvalidSetting(
            f"the host {settings.host[:100]!r} is not an address of this machine; "
            "set one with --host or ASSAYER_HOST, such as 127.0.0.1"
        ) from None
    if settings.token is None and not is_loopback(settings.host):
        raise SettingsError(
            f"refusing to bind {settings.host} without a token: set ASSAYER_TOKEN to a secret shared with "
            "clients and workers, or bind 127.0.0.1"
        )
    # The protocol is named because asyncio disables Nagle's algorithm only if it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidSetting(
                f"the host {settings.host} is not an address of this machine; set one with --host or ASSAYER_HOST, "
                "such as 127.0.0.1"
            ) from None
        raise SettingsError(
            f"cannot serve at {settings.host}:{settings.port}: {error.strerror}; "
            "stop the program that uses this port, or choose another port with --port"
        ) from None
    return listener


class _Server(uvicorn.Server):
    """A server with graceful shutdown that ends within _STOP_SECONDS of a signal, whatever is open.

    It ends open streams first, because they never end by themselves. Then running requests get _GRACE_SECONDS. A thread
    cannot be cancelled (a suggestion, a slow query, or an event loop that one of them blocks). After _STOP_SECONDS the
    process therefore exits while such threads run. This loses nothing, because every acknowledged write is committed.
    """

    def __init__(self, config: uvicorn.Config, watch: RevisionPoller) -> None:
        super().__init__(config)
        self._watch = watch

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # The signal handler starts the timer, because it runs even while the event loop is blocked.
            last_resort = threading.Timer(_STOP_SECONDS, _exit_now)
            last_resort.daemon = True
            last_resort.start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.close()
        await super().shutdown(sockets)


def _exit_now() -> None:
    log.warning("the service did not stop within %g seconds of the signal and exits now", _STOP_SECONDS)
    os._exit(1)


def restore(settings: Settings, backup: Path | None) -> Restored:
    """Restore a backup and invalidate the leases granted before.

    Args:
        settings: the settings with the database to restore.
        backup: the backup file. None: another command has already put the backup in place.

    Raises:
        DatabaseError, UnknownSchemaError: the backup or the database cannot be used.
    """
    if backup is not None:
        with restoring(backup, settings.database) as partial:
            return _begin_epoch(replace(settings, database=partial))
    require_there(settings.database)
    return _begin_epoch(settings)


def _begin_epoch(settings: Settings) -> Restored:
    database = open_database(settings.database)
    try:
        return asyncio.run(begin_epoch(build_context(settings, database)))
    finally:
        database.close()


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal stops the process.

    Raises:
        DatabaseError, UnknownSchemaError, BlobStoreError: the database or its blob store cannot be used.
    """
    log_config.configure(settings.log_level)
    use_one_thread()
    # When uvicorn is done, it raises the signal that stopped it again. The database must still be closed then.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)
    database = open_database(settings.database)
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    try:
        blobs = open_blobs(settings, database)
        log.info(
            "serving %s at http://%s:%d (dashboard; API pages at /docs)", redacted_url(settings.database), address, port
        )
        app = build_app(build_context(settings, database, blobs), settings.token, access_rules(settings))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
            **connection_settings(connection_limits(settings), settings.keep_alive_seconds),
        )
        _Server(config, app.state.watch).run(sockets=[listener])
    finally:
        database.close()
