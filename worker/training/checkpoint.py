"""Checkpoints in a directory: written atomically, verified by hash, loaded without running code; the newest kept."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from worker.training.parallel import ALONE, Group

_FORMAT = 1
_KEPT = 2
_MIDDLE = "-batch-"
_SHARE = 0.01
_LONGEST_SECONDS = 600.0
_LONG_EPOCH_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint's manifest says of it.

    `size` is in bytes, `file` beside the manifest; `batch` counts the batches done since `step`, 0 at an epoch's end.
    """

    step: int
    file: str
    sha256: str
    size: int
    batch: int = 0
    format: int = _FORMAT


@dataclass(frozen=True)
class Cadence:
    """How often to save: every so many seconds, but for about 1 % of the time at most, yet every ten minutes.

    In the middle of an epoch half as often, counted from the last checkpoint of any kind: where epochs are short only
    their ends are saved, from which alone others can begin, and where they are long both together take their 1 %.
    """

    every_seconds: float

    def is_due(self, since_seconds: float, cost_seconds: float, *, is_middle: bool = False) -> bool:
        """Whether to save, so long after the last time, which took `cost_seconds`."""
        seconds = max(self.every_seconds, cost_seconds / _SHARE)
        # As long as nothing was saved its cost is not known: an epoch that is soon over is saved at its end.
        wanted = max(2 * seconds, _LONG_EPOCH_SECONDS) if is_middle else seconds
        return since_seconds >= min(_LONGEST_SECONDS, wanted)


class Checkpointer:
    """Saves a training's state in its directory: after every epoch, or where it has a cadence as that says.

    `begun_at` is the epoch and batch at which the training begins, which nothing need be saved of.
    """

    def __init__(
        self,
        directory: Path | None,
        cadence: Cadence | None,
        on_saved: Callable[[Manifest], None] | None,
        begun_at: tuple[int, int] = (0, 0),
        group: Group = ALONE,
    ) -> None:
        """Of a group, the first rank decides and saves."""
        self._group = group
        self._wants = group.by_first(self._is_wanted, (False, True))
        self._directory = directory
        self._cadence = cadence
        self._on_saved = on_saved
        self._newest = begun_at
        self._saved_at = self._end_saved_at = time.perf_counter()
        self._cost_seconds = 0.0

    def offer(self, step: int, content: Callable[[], Mapping[str, Any]], *, must: bool, batch: int = 0) -> None:
        """Save what `content` gives, of a batch after `step`, if due or a `must`; without a directory, never.

        The same place is never saved twice.
        """
        if not self._wants(step, batch, must=must):
            return
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # the steps that the device is still at are no cost of saving
        began = time.perf_counter()
        state = content()
        if self._directory is None or not self._group.is_first:
            return
        manifest = save_checkpoint(self._directory, step, state, batch)
        self._newest = step, batch
        self._saved_at = time.perf_counter()
        self._cost_seconds = self._saved_at - began
        if not batch:
            self._end_saved_at = self._saved_at
        if self._on_saved is not None:
            self._on_saved(manifest)

    def offer_within(self, step: int, content: Callable[[], Mapping[str, Any]], batch: int) -> None:
        """The same in the middle of an epoch, which without a cadence is not saved."""
        if self._cadence is not None:
            self.offer(step, content, must=False, batch=batch)

    def _is_wanted(self, step: int, batch: int, *, must: bool) -> bool:
        if self._directory is None or (step, batch) == self._newest:
            return False
        since = time.perf_counter() - (self._saved_at if batch else self._end_saved_at)
        is_due = self._cadence is None or self._cadence.is_due(since, self._cost_seconds, is_middle=batch > 0)
        return must or is_due


def adopt_checkpoint(directory: Path, step: int, file: Path, batch: int = 0) -> Manifest:
    """Make a file that came from elsewhere, verified on the way, the checkpoint of `step`, or of a batch after it."""
    directory.mkdir(parents=True, exist_ok=True)
    return _commit(file.replace(directory / _file_name(step, batch)), step, batch)


def save_checkpoint(directory: Path, step: int, content: Mapping[str, Any], batch: int = 0) -> Manifest:
    """Make `content` durable as the checkpoint of `step`, or of a batch after it; a crash leaves the one before valid.

    The content is a mapping of tensors and plain Python: `load_checkpoint` refuses anything else.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _file_name(step, batch)
    _write(path, lambda file: torch.save(dict(content), file))
    manifest = _commit(path, step, batch)
    for stale in _stale(_manifest_paths(directory)):
        stale.unlink()
        stale.with_suffix(".pt").unlink(missing_ok=True)
    return manifest


def _stale(newest_first: list[Path]) -> list[Path]:
    """What goes: all but the newest two, and the newest of a whole epoch, from which alone others begin."""
    ends = [path for path in newest_first if _MIDDLE not in path.stem]
    return [path for path in newest_first[_KEPT:] if path not in ends[:1]]


def _file_name(step: int, batch: int = 0) -> str:
    return f"step-{step:08d}{f'{_MIDDLE}{batch:08d}' if batch else ''}.pt"


def _commit(path: Path, step: int, batch: int = 0) -> Manifest:
    """Make the file count."""
    manifest = Manifest(step, path.name, _sha256(path), path.stat().st_size, batch)
    # The manifest comes last: without it the file beside it doesn't count.
    _write(path.with_suffix(".json"), lambda file: file.write(json.dumps(asdict(manifest)).encode()))
    return manifest


def newest_checkpoint(directory: Path) -> Manifest | None:
    """The manifest of the newest checkpoint that is whole, or None; a damaged one is passed over with a warning."""
    for path in _manifest_paths(directory):
        if (manifest := _verified(path)) is not None:
            return manifest
        _logger.warning("checkpoint %s is damaged or gone; trying the one before it", path.with_suffix(".pt"))
    return None


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """The content of the newest valid checkpoint, its tensors on the CPU, or None where there is none."""
    manifest = newest_checkpoint(directory)
    if manifest is None:
        return None
    content: dict[str, Any] = torch.load(directory / manifest.file, map_location="cpu", weights_only=True)
    return content


def _verified(path: Path) -> Manifest | None:
    """The manifest at `path` if the file it speaks of is there, unaltered."""
    try:
        manifest = Manifest(**json.loads(path.read_text()))
        if Path(manifest.file).name != manifest.file:  # a checkpoint lies beside its manifest, not elsewhere
            return None
        return manifest if _sha256(path.parent / manifest.file) == manifest.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def _manifest_paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.json"), key=lambda path: path.stem, reverse=True)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    # The rename itself is durable only once the directory is.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
