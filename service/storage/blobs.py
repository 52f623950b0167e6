"""Blob store: files in one directory, named by the SHA-256 of their content. It does not know who refers to them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from service.storage.fsync import sync
from service.storage.timestamps import MICROSECONDS

_ID_FILE = "store-id"
_CHUNK = 1 << 20
GIB = 1 << 30


class BlobStoreError(Exception):
    """The blob store cannot be used; the message says why and what to do."""


class StoreFull(Exception):
    """A blob does not fit into the store's budget; the message says how large that is and what to do."""


class HashMismatch(Exception):
    """Content does not match its name; `found` is its actual SHA-256."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


class BlobStore:
    """Stores blobs in one directory. Every method may block on the disk, so never call one on an event loop.

    A blob is written to a temporary file, verified, flushed to the disk, and then renamed: it is complete or absent.
    """

    def __init__(self, directory: Path, budget_bytes: int | None = None) -> None:
        """Create a store for `directory`.

        Args:
            directory: Directory of the blobs.
            budget_bytes: Maximum total size of all blobs in bytes. None: limited by the disk only.
        """
        self.directory = directory
        self._budget_bytes = budget_bytes

    def reserve(self, num_bytes: int, make_room: Callable[[], int]) -> float:
        """Return how many more bytes fit, at least `num_bytes`.

        If they do not fit, `make_room` first deletes what it can.

        Raises:
            StoreFull: They do not fit even then.
        """
        if self._budget_bytes is None:
            return math.inf
        room = self._budget_bytes - self._size()
        if room < num_bytes:
            make_room()
            room = self._budget_bytes - self._size()
        if room < num_bytes:
            raise StoreFull(
                f"the checkpoints fill the {self._budget_bytes / GIB:g} GiB that ASSAYER_BLOBS_GIB allows; raise the "
                "limit, or stop studies whose trials wait or are paused"
            )
        return room

    def _size(self) -> int:
        """Return the total size of all blobs in bytes, including those being written."""
        sizes = []
        for path in self.directory.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def claim(self, store_id: str, *, is_new: bool) -> None:
        """Ensure that the directory is the store with this id; a new store may be created here.

        Raises:
            BlobStoreError: The directory belongs to another store, does not exist, or cannot be written to.
        """
        id_file = self.directory / _ID_FILE
        try:
            if is_new and not id_file.exists():
                self.directory.mkdir(parents=True, exist_ok=True)
                _replace(id_file, store_id.encode())
            found = id_file.read_text().strip()
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except FileNotFoundError:
            raise BlobStoreError(
                f"{self.directory} is not the blob store of this database (it holds no {_ID_FILE}); "
                "mount the folder that the other servers use, or name it with ASSAYER_BLOBS"
            ) from None
        except OSError as error:
            raise BlobStoreError(
                f"cannot use {self.directory} for blobs: {error.strerror}; name another folder with ASSAYER_BLOBS"
            ) from None
        if found != store_id:
            raise BlobStoreError(
                f"{self.directory} is the blob store of another database; name this one's folder with ASSAYER_BLOBS"
            )

    def size(self, sha256: str) -> int | None:
        """Return the blob's size in bytes, or None if it does not exist."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def touch(self, sha256: str) -> bool:
        """Reset the blob's age for `collect`; return False if it does not exist."""
        try:
            os.utime(self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def writer(self, sha256: str) -> BlobWriter:
        """Start to store a blob."""
        return BlobWriter(self._path(sha256), sha256)

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield the blob in pieces of 1 MiB; a damaged blob is deleted from the store.

        Raises:
            FileNotFoundError: The blob does not exist.
            HashMismatch: The blob is damaged. This is raised after the last piece.
        """
        path, digest = self._path(sha256), hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != sha256:
            path.unlink(missing_ok=True)
            raise HashMismatch(digest.hexdigest())

    def collect(self, kept: Collection[str], before: int, unreferenced: Collection[str] = ()) -> int:
        """Delete the blobs that are not among `kept` and were last touched before an instant; return how many.

        Args:
            kept: SHA-256 of the blobs to keep.
            before: Instant in UTC microseconds.
            unreferenced: SHA-256 of blobs that are not needed any more: they are deleted however recently they
            were
                touched.
        """
        num_removed = 0
        for path in self.directory.glob("??/*"):
            if path.name in kept:
                continue
            with contextlib.suppress(FileNotFoundError):  # another replica may have deleted it
                if path.name in unreferenced or path.stat().st_mtime * MICROSECONDS < before:
                    path.unlink()
                    num_removed += 1
        return num_removed

    def limit_ages(self, now: int) -> None:
        """Set the time of the last touch to `now` for every blob where it is later.

        A blob that was touched while the host's clock was ahead would otherwise be kept until that instant has passed.
        """
        for path in self.directory.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime * MICROSECONDS > now:
                    os.utime(path, ns=(now * 1_000, now * 1_000))

    def _path(self, sha256: str) -> Path:
        return self.directory / sha256[:2] / sha256


class BlobWriter:
    """A blob being written to the store; closing it without `keep` leaves nothing behind."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path = path
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        self._file = os.fdopen(descriptor, "wb")
        self._temporary = Path(name)

    def write(self, piece: bytes) -> None:
        """Append to the content."""
        self._digest.update(piece)
        self._file.write(piece)

    def keep(self) -> bool:
        """Move the complete content to its final place durably; return False if the store had it already.

        Raises:
            HashMismatch: The content does not match its name.
        """
        if (found := self._digest.hexdigest()) != self._sha256:
            raise HashMismatch(found)
        self._file.flush()
        os.fsync(self._file.fileno())
        was_there = self._path.exists()
        self._temporary.replace(self._path)
        sync(self._path.parent)
        return not was_there

    def close(self) -> None:
        """Delete the temporary file unless the blob was kept."""
        # On a full disk the buffer still holds data, and closing the file tries to write it once more.
        with contextlib.suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)
