"""Blobs: attach the store to the database, take and give content, and collect what nothing refers to any more."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.contract.blob import BlobReply
from service.contract.lease import BLOB
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.blobs import BlobStore, HashMismatch, StoreFull
from service.storage.instants import MICROSECONDS
from service.storage.queries import checkpoints
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import Transactor
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment

T = TypeVar("T")
log = logging.getLogger(__name__)

_PIECE = 1 << 20
"""Bytes that are gathered before a thread writes them."""


def attach_blobs(transact: Transactor, directory: Path, budget_bytes: int | None = None) -> BlobStore:
    """The database's blob store, which the first server makes in `directory`.

    Raises:
        BlobStoreError: the directory is not that store.
    """
    # The deployment is committed before its id goes into the directory, which is claimed before that is recorded: a
    # server that dies in between leaves a directory that the next one takes for its own.
    deployment = transact.now(None, ensure_deployment)
    store = BlobStore(directory, budget_bytes)
    store_id = deployment.blob_store_id or deployment.deployment_id
    store.claim(store_id, is_new=deployment.blob_store_id is None)
    record = tables.deployment.update().values(blob_store_id=store_id)
    transact.now(None, lambda unit_of_work: unit_of_work.connection.execute(record).rowcount)
    return store


def store_of(context: Context) -> BlobStore:
    """The store of this replica.

    Raises:
        DomainError: it has none.
    """
    if context.blobs is None:
        raise DomainError(ErrorCode.UNKNOWN_BLOB, "this service keeps no blobs; serve it with `service serve`")
    return context.blobs


async def store_blob(context: Context, sha256: str, pieces: AsyncIterator[bytes]) -> BlobReply:
    """Keep content under its hash; storing it again changes nothing.

    Raises:
        DomainError: it has another hash, or does not fit on the disk or into the budget; nothing is kept.
    """
    store, size, gathered = store_of(context), 0, bytearray()
    incoming = await _on_disk(lambda: store.incoming(sha256))

    room = 0.0

    def write(piece: bytes) -> None:
        nonlocal room
        if room < len(piece):  # the store is measured only when what was free may be used up
            room = store.room(len(piece), lambda: _make_room(context, store))
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
    """How many bytes a blob has.

    Raises:
        DomainError: there is no such blob.
    """
    size = await asyncio.to_thread(store_of(context).size, sha256)
    if size is None:
        raise DomainError(ErrorCode.UNKNOWN_BLOB, f"there is no blob {sha256}; upload it first")
    return size


async def read_blob(context: Context, sha256: str) -> AsyncIterator[bytes]:
    """A blob's content, piece by piece; one that turns out to be damaged is gone afterwards."""
    pieces = store_of(context).read(sha256)
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    except HashMismatch as error:  # the reader, who compares the hash too, asks again and hears that it is gone
        log.error("blob %s was damaged (its content is %s now) and was taken out of the store", sha256, error.found)


def is_uploaded(context: Context, sha256: str, size: int) -> bool:
    """Whether a blob is in the store; touched, so that it stays there until what names it has committed."""
    store = store_of(context)
    return store.size(sha256) == size and store.touch(sha256)


def is_there(context: Context, artifact: Row) -> bool:
    """Whether an artifact can be read: its blob is in the store, or it lies elsewhere, which is not ours to know."""
    if not artifact.uri.startswith(BLOB):
        return True
    return context.blobs is not None and context.blobs.size(artifact.sha256) == artifact.size


async def collect_blobs(context: Context) -> int:
    """Delete the blobs that nothing refers to and nobody touched for a while; how many."""
    if context.blobs is None:
        return 0
    grace = int(context.limits.blob_grace_seconds * MICROSECONDS)

    def look(connection: Connection) -> tuple[set[str], int]:
        return checkpoints.wanted(connection), context.database.dialect.now(connection)

    wanted, now = await context.database.read(look)
    await asyncio.to_thread(context.blobs.limit_ages, now)
    return await asyncio.to_thread(context.blobs.remove_untouched, wanted, now - grace)


def _make_room(context: Context, store: BlobStore) -> int:
    """Delete at once whatever was registered and is not needed any more; how many."""

    def look(connection: Connection) -> tuple[set[str], set[str]]:
        return checkpoints.wanted(connection), checkpoints.registered(connection)

    wanted, registered = context.database.read_now(look)
    return store.remove_untouched(wanted, before=0, settled=registered)


async def _on_disk(do: Callable[[], T]) -> T:
    """Do it in a thread, and say what the disk says as what it means for the caller."""
    return await asyncio.to_thread(_told, do)


def _told(do: Callable[[], T]) -> T:
    with _problems():
        return do()


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except HashMismatch as error:
        raise DomainError(
            ErrorCode.BLOB_MISMATCH,
            f"the content's SHA-256 is {error.found}, not the one in the address; nothing was kept, send it again",
        ) from None
    except StoreFull as error:
        raise DomainError(ErrorCode.STORAGE_FULL, str(error)) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DomainError(ErrorCode.STORAGE_FULL, "the service's disk for blobs is full; free some space") from None
