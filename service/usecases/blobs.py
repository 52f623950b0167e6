"""Use cases of the blob store: attach it to the database, store and read blobs, and delete unreferenced ones."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.contract.attempt import BLOB
from service.contract.blob import BlobReply
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.blobs import BlobStore, HashMismatch, StoreFull
from service.storage.queries import checkpoints
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import Transactor
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment

T = TypeVar("T")
log = logging.getLogger(__name__)

_PIECE = 1 << 20
"""Bytes to collect in memory before a thread writes them to disk."""


def attach_blobs(transact: Transactor, directory: Path, budget_bytes: int | None = None) -> BlobStore:
    """Open the blob store of this database in `directory`; the first server creates it.

    Args:
        transact: Runs transactions on the database.
        directory: Directory of the blobs.
        budget_bytes: Maximum total size of all blobs in bytes. None: limited by the disk only.

    Raises:
        BlobStoreError: `directory` is not the blob store of this database.
    """
    # First commit the deployment, then write its id into the directory, then record that id in the database. A server
    # that dies in between leaves a directory that the next server accepts as its own.
    deployment = transact.run_sync(None, ensure_deployment)
    store = BlobStore(directory, budget_bytes)
    store_id = deployment.blob_store_id or deployment.deployment_id
    store.claim(store_id, is_new=deployment.blob_store_id is None)
    record = tables.deployment.update().values(blob_store_id=store_id)
    transact.run_sync(None, lambda unit_of_work: unit_of_work.connection.execute(record).rowcount)
    return store


def store_of(context: Context) -> BlobStore:
    """Return the blob store of this replica.

    Raises:
        DomainError: This replica has no blob store.
    """
    if context.blobs is None:
        raise DomainError(ErrorCode.UNKNOWN_BLOB, "this service stores no blobs; start it with `assayer serve`")
    return context.blobs


async def store_blob(context: Context, sha256: str, pieces: AsyncIterator[bytes]) -> BlobReply:
    """Store content under its SHA-256. Repeating the request changes nothing.

    Raises:
        DomainError: The content has another hash, or does not fit on the disk or into the budget. Nothing is stored.
    """
    store, size, gathered = store_of(context), 0, bytearray()
    incoming = await _on_disk(lambda: store.writer(sha256))

    room = 0.0

    def write(piece: bytes) -> None:
        nonlocal room
        if room < len(piece):  # measure the store only when the free space known so far may not suffice
            room = store.reserve(len(piece), lambda: _make_room(context, store))
        room -= len(piece)
        incoming.write(piece)

    try:
        async for piece in pieces:
            size += len(piece)
            gathered += piece
            if len(gathered) >= _PIECE:
                whole, gathered = bytes(gathered), bytearray()
                await _on_disk(lambda whole=whole: write(whole))  # type: ignore[misc]
        await _on_disk(lambda: write(bytes(gathered)))
        is_new = await _on_disk(incoming.keep)
    finally:
        await asyncio.shield(asyncio.to_thread(incoming.close))
    return BlobReply(sha256=sha256, size=size, is_new=is_new)


async def blob_size(context: Context, sha256: str) -> int:
    """Return the size of a blob in bytes.

    Raises:
        DomainError: There is no such blob.
    """
    size = await asyncio.to_thread(store_of(context).size, sha256)
    if size is None:
        raise DomainError(ErrorCode.UNKNOWN_BLOB, f"there is no blob {sha256}; upload it first")
    return size


async def read_blob(context: Context, sha256: str) -> AsyncIterator[bytes]:
    """Yield a blob's content in pieces. A blob that turns out to be damaged is deleted afterwards."""
    pieces = store_of(context).read(sha256)
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    except HashMismatch as error:  # the reader compares the hash too, retries, and gets "not found"
        log.error("blob %s was damaged (its content is %s now) and was taken out of the store", sha256, error.found)


def is_uploaded(context: Context, sha256: str, size: int) -> bool:
    """Return whether a blob of this size is in the store, and touch it.

    The touch keeps it there until the transaction that refers to it has committed.
    """
    store = store_of(context)
    return store.size(sha256) == size and store.touch(sha256)


def is_stored(context: Context, artifact: Row) -> bool:
    """Return whether an artifact can be read.

    An artifact with a blob URI can be read if its blob is in the store. The service cannot check other locations and
    assumes that an artifact there can be read.
    """
    if not artifact.uri.startswith(BLOB):
        return True
    return context.blobs is not None and context.blobs.size(artifact.sha256) == artifact.size


async def collect_blobs(context: Context) -> int:
    """Delete the blobs that nothing refers to and that were not touched during the grace period; return how many."""
    if context.blobs is None:
        return 0
    grace = int(context.limits.blob_grace_seconds * MICROSECONDS)

    def look(connection: Connection) -> tuple[set[str], int]:
        return checkpoints.wanted(connection), context.database.dialect.now(connection)

    kept, now = await context.database.read(look)
    await asyncio.to_thread(context.blobs.limit_ages, now)
    return await asyncio.to_thread(context.blobs.collect, kept, now - grace)


def _make_room(context: Context, store: BlobStore) -> int:
    """Delete at once every blob that was registered and is not needed any more; return how many."""

    def look(connection: Connection) -> tuple[set[str], set[str]]:
        return checkpoints.wanted(connection), checkpoints.registered(connection)

    kept, registered = context.database.read_sync(look)
    return store.collect(kept, before=0, unreferenced=registered)


async def _on_disk(do: Callable[[], T]) -> T:
    """Run `do` in a thread and convert storage errors into a DomainError for the caller."""
    return await asyncio.to_thread(_translated, do)


def _translated(do: Callable[[], T]) -> T:
    with _problems():
        return do()


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except HashMismatch as error:
        raise DomainError(
            ErrorCode.BLOB_MISMATCH,
            f"the content's SHA-256 is {error.found}, which differs from the one in the address; nothing was stored; "
            "send the content again",
        ) from None
    except StoreFull as error:
        raise DomainError(ErrorCode.STORAGE_FULL, str(error)) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DomainError(ErrorCode.STORAGE_FULL, "the service's disk for blobs is full; free some space") from None
