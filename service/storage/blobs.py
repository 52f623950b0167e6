"""The blob store: files in one directory, named by the SHA-256 of their content; knows not who refers to them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from service.storage.instants import MICROSECONDS

_ID_FILE = "store-id"
_CHUNK = 1 << 20
GIB = 1 << 30


class BlobStoreError(Exception):
    """The blob store cannot be used; says why and what to do."""


class StoreFull(Exception):
    """A blob does not fit into the store's budget; says how large that is and what to do."""


class HashMismatch(Exception):
    """Content that is not what its name says; `found` is the SHA-256 that it has."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


class BlobStore:
    """One directory; every method may wait for the disk, so none is called on an event loop.

    A blob is written beside its place, verified, made durable, and then renamed: it is whole or not there.
    """

    def __init__(self, directory: Path, budget_bytes: int | None = None) -> None:
        """`budget_bytes`: how large all blobs together may be; none: as large as the disk."""
        self.directory = directory
        self._budget_bytes = budget_bytes

    def room(self, num_bytes: int, make_room: Callable[[], int]) -> float:
        """How many bytes more fit, at least so many; what `make_room` can delete is deleted before that is denied.

        Raises:
            StoreFull: they do not.
        """
        if self._budget_bytes is None:
            return math.inf
        room = self._budget_bytes - self._size()
        if room < num_bytes:
            make_room()
            room = self._budget_bytes - self._size()
        if room < num_bytes:
            raise StoreFull(
                f"the checkpoints fill the {self._budget_bytes / GIB:g} GiB that ASSAYER_BLOBS_GIB allows; allow more, "
                "or stop studies whose trials wait or are paused"
            )
        return room

    def _size(self) -> int:
        """Bytes of all blobs, those under way included."""
        sizes = []
        for path in self.directory.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def claim(self, store_id: str, *, is_new: bool) -> None:
        """Make sure that the directory is the store of that id; a new store may be made here.

        Raises:
            BlobStoreError: it is another's, it is not there, or it cannot be written to.
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
        """The blob's size in bytes; None where it is not there."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def touch(self, sha256: str) -> bool:
        """Make the blob as good as new for `remove_untouched`; False where it is not there."""
        try:
            os.utime(self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def incoming(self, sha256: str) -> Incoming:
        """Begin to store a blob."""
        return Incoming(self._path(sha256), sha256)

    def read(self, sha256: str) -> Iterator[bytes]:
        """The blob in pieces; one that turns out to be damaged is taken out of the store.

        Raises:
            FileNotFoundError: it is not there.
            HashMismatch: after the last piece, if it is damaged.
        """
        path, digest = self._path(sha256), hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != sha256:
            path.unlink(missing_ok=True)
            raise HashMismatch(digest.hexdigest())

    def remove_untouched(self, wanted: Collection[str], before: int, settled: Collection[str] = ()) -> int:
        """Delete the blobs that are not wanted and were last touched before that instant; how many.

        Those that are `settled` will not be asked for any more: how lately they were touched does not matter.
        """
        num_removed = 0
        for path in self.directory.glob("??/*"):
            if path.name in wanted:
                continue
            with contextlib.suppress(FileNotFoundError):  # another replica does the same
                if path.name in settled or path.stat().st_mtime * MICROSECONDS < before:
                    path.unlink()
                    num_removed += 1
        return num_removed

    def limit_ages(self, now: int) -> None:
        """Make every blob that was touched after `now` as if it was touched now.

        A blob that was touched while the host's clock was ahead would be kept until that instant has passed.
        """
        for path in self.directory.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime * MICROSECONDS > now:
                    os.utime(path, ns=(now * 1_000, now * 1_000))

    def _path(self, sha256: str) -> Path:
        return self.directory / sha256[:2] / sha256


class Incoming:
    """A blob on its way into the store; leaving the context without `keep` leaves nothing behind."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path = path
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        self._file = os.fdopen(descriptor, "wb")
        self._temporary = Path(name)

    def write(self, piece: bytes) -> None:
        """Add to the content."""
        self._digest.update(piece)
        self._file.write(piece)

    def keep(self) -> bool:
        """Put the whole content in its place, durably; False where the store had it already.

        Raises:
            HashMismatch: the content is not what its name says.
        """
        if (found := self._digest.hexdigest()) != self._sha256:
            raise HashMismatch(found)
        self._file.flush()
        os.fsync(self._file.fileno())
        was_there = self._path.exists()
        self._temporary.replace(self._path)
        _sync_directory(self._path.parent)
        return not was_there

    def close(self) -> None:
        """Delete what was not kept."""
        # What a full disk refused stays in the buffer, and closing tries it once more.
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
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
