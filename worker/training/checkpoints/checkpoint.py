"""Checkpoint files: written atomically, verified by SHA-256, loaded without running code; only the newest are kept."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from worker.fsync import replace_durably
from worker.training.distributed.group import SINGLE_PROCESS, Group

_FORMAT = 1
_NUM_KEPT = 2
_MID_EPOCH = "-batch-"
_MAX_TIME_SHARE = 0.01
_MAX_INTERVAL_SECONDS = 600.0
_LONG_EPOCH_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """The manifest of a checkpoint, a JSON file beside it.

    Attributes:
        step: completed epochs.
        file: the checkpoint's file name, in the manifest's directory.
        sha256: the file's hash, in hexadecimal digits.
        size: bytes of the file.
        batch: batches completed since `step`; 0 at the end of an epoch.
        format: the version of the manifest's format.
    """

    step: int
    file: str
    sha256: str
    size: int
    batch: int = 0
    format: int = _FORMAT


@dataclass(frozen=True)
class SaveInterval:
    """How often to save a checkpoint.

    Saving takes about 1 % of the training time at most, but the interval never exceeds ten minutes. In the middle of an
    epoch the interval is twice as long, counted from the last checkpoint of any kind. So in trainings with short epochs
    only the ends of epochs are saved, from which alone other trainings can begin. With long epochs both kinds together
    take their 1 %.

    Attributes:
        every_seconds: the shortest interval between two checkpoints.
    """

    every_seconds: float

    def is_due(self, since_seconds: float, cost_seconds: float, *, is_mid_epoch: bool = False) -> bool:
        """Return whether to save now.

        Args:
            since_seconds: the time since the last checkpoint.
            cost_seconds: how long saving it took.
            is_mid_epoch: whether the training is in the middle of an epoch.
        """
        seconds = max(self.every_seconds, cost_seconds / _MAX_TIME_SHARE)
        # Before the first save the cost is unknown, so an epoch that takes under a second is saved at its end only.
        interval = max(2 * seconds, _LONG_EPOCH_SECONDS) if is_mid_epoch else seconds
        return since_seconds >= min(_MAX_INTERVAL_SECONDS, interval)


class Checkpointer:
    """Saves the state of a training in its directory, after every epoch or at its save interval."""

    def __init__(
        self,
        directory: Path | None,
        save_interval: SaveInterval | None,
        on_saved: Callable[[Manifest], None] | None,
        start_position: tuple[int, int] = (0, 0),
        group: Group = SINGLE_PROCESS,
    ) -> None:
        """Prepare to save checkpoints; in a group, the first rank decides and saves.

        Args:
            directory: where checkpoints go; None: nothing is saved.
            save_interval: how often to save; None: after every epoch.
            on_saved: called with the manifest of each checkpoint.
            start_position: the epoch and batch at which the training begins; that state needs no checkpoint.
            group: the processes that train together.
        """
        self._group = group
        self._should_save = group.on_rank_zero(self._decide_to_save, (False, True))
        self._directory = directory
        self._save_interval = save_interval
        self._on_saved = on_saved
        self._newest = start_position
        self._saved_at = self._end_saved_at = time.perf_counter()
        self._cost_seconds = 0.0

    def maybe_save(self, step: int, content: Callable[[], Mapping[str, Any]], *, force: bool, batch: int = 0) -> None:
        """Save a checkpoint if one is due or `force` is set; the same position is never saved twice.

        Args:
            step: completed epochs.
            content: called only if a checkpoint is saved; returns what it holds.
            force: save even if none is due (but never without a directory).
            batch: batches completed since `step`.
        """
        if not self._should_save(step, batch, force=force):
            return
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # so that steps still running on the device do not count as saving time
        started = time.perf_counter()
        state = content()
        if self._directory is None or not self._group.is_first:
            return
        manifest = save_checkpoint(self._directory, step, state, batch)
        self._newest = step, batch
        self._saved_at = time.perf_counter()
        self._cost_seconds = self._saved_at - started
        if not batch:
            self._end_saved_at = self._saved_at
        if self._on_saved is not None:
            self._on_saved(manifest)

    def maybe_save_mid_epoch(self, step: int, content: Callable[[], Mapping[str, Any]], batch: int) -> None:
        """Save a checkpoint in the middle of an epoch if one is due; without a save interval none is saved there."""
        if self._save_interval is not None:
            self.maybe_save(step, content, force=False, batch=batch)

    def _decide_to_save(self, step: int, batch: int, *, force: bool) -> bool:
        if self._directory is None or (step, batch) == self._newest:
            return False
        since = time.perf_counter() - (self._saved_at if batch else self._end_saved_at)
        is_due = self._save_interval is None or self._save_interval.is_due(
            since, self._cost_seconds, is_mid_epoch=batch > 0
        )
        return force or is_due


def import_checkpoint(directory: Path, step: int, file: Path, batch: int = 0) -> Manifest:
    """Make a verified file from elsewhere the checkpoint of `step`, or of a batch after it, and return its manifest.

    The file is moved into `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return _commit(file.replace(directory / _file_name(step, batch)), step, batch)


def save_checkpoint(directory: Path, step: int, content: Mapping[str, Any], batch: int = 0) -> Manifest:
    """Save `content` durably as the checkpoint of `step`, or of a batch after it, and remove old checkpoints.

    If the process crashes meanwhile, the checkpoint before stays valid.

    Args:
        directory: where checkpoints go; it is created if needed.
        step: completed epochs.
        content: tensors and plain Python; `load_checkpoint` refuses anything else.
        batch: batches completed since `step`.
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
    """Return what to delete: all but the newest two and the newest end of an epoch, from which alone others begin."""
    ends = [path for path in newest_first if _MID_EPOCH not in path.stem]
    return [path for path in newest_first[_NUM_KEPT:] if path not in ends[:1]]


def _file_name(step: int, batch: int = 0) -> str:
    return f"step-{step:08d}{f'{_MID_EPOCH}{batch:08d}' if batch else ''}.pt"


def _commit(path: Path, step: int, batch: int = 0) -> Manifest:
    """Write the manifest, which makes the checkpoint valid."""
    manifest = Manifest(step, path.name, _sha256(path), path.stat().st_size, batch)
    # The manifest is written last, because a checkpoint file without a manifest is not valid.
    _write(path.with_suffix(".json"), lambda file: file.write(json.dumps(asdict(manifest)).encode()))
    return manifest


def newest_checkpoint(directory: Path) -> Manifest | None:
    """Return the manifest of the newest valid checkpoint, or None; a damaged one is skipped with a warning."""
    for path in _manifest_paths(directory):
        if (manifest := _verified(path)) is not None:
            return manifest
        _logger.warning("checkpoint %s is damaged or missing; trying the previous one", path.with_suffix(".pt"))
    return None


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """Return the content of the newest valid checkpoint, with its tensors on the CPU, or None if there is none."""
    manifest = newest_checkpoint(directory)
    if manifest is None:
        return None
    content: dict[str, Any] = torch.load(directory / manifest.file, map_location="cpu", weights_only=True)
    return content


def _verified(path: Path) -> Manifest | None:
    """Return the manifest at `path` if its checkpoint file exists and has the right hash, else None."""
    try:
        manifest = Manifest(**json.loads(path.read_text()))
        if Path(manifest.file).name != manifest.file:  # a manifest must not point to another directory
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
        replace_durably(file, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
