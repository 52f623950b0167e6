"""Local storage of attempts' files: keeps those of running attempts, and the newest of ended ones within a budget."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.agent.attempts import AttemptKey

log = logging.getLogger(__name__)

_LEFTOVER_SECONDS = 86_400.0
"""Files of a trial that this host gave back are kept for a day, since the trial may resume here from its checkpoint."""


@dataclass(frozen=True)
class KeptAttempt:
    """The checkpoints of one attempt on this disk."""

    key: AttemptKey
    num_bytes: int
    touched_at: float


def evictable(
    kept: Iterable[KeptAttempt], budget_bytes: int, active: Collection[AttemptKey], unsent: Collection[AttemptKey]
) -> list[KeptAttempt]:
    """Select the attempts whose checkpoints to delete so that the rest fits into the budget.

    The oldest are selected first; attempts in `unsent`, which have checkpoints that the service has not registered,
    come last. Attempts in `active` are never selected, even if they alone exceed the budget. Each training limits
    itself to its newest checkpoints.
    """
    oldest_first = sorted(kept, key=lambda attempt: (attempt.key in unsent, attempt.touched_at))
    total = sum(attempt.num_bytes for attempt in oldest_first)
    selected = []
    for attempt in oldest_first:
        if total <= budget_bytes:
            break
        if attempt.key not in active:
            selected.append(attempt)
            total -= attempt.num_bytes
    return selected


def make_private(path: Path) -> None:
    """Make a file readable by its owner only, since a training process saved it with the umask of custom code."""
    with suppress(OSError):  # a newer checkpoint may have replaced it by now
        path.chmod(0o600)
        path.with_suffix(".json").chmod(0o600)


class LocalStorage:
    """A directory with a folder per trial: its attempts' stdout, stderr, predictions and checkpoint folders."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        self.directory = directory
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._has_warned = False

    def checkpoint_folder(self, key: AttemptKey) -> Path:
        """Create and return the attempt's own folder for checkpoints."""
        folder = self.directory / key.trial / str(key.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def output_files(self, key: AttemptKey) -> tuple[Path, Path]:
        """Return the files of the attempt's stdout and stderr."""
        folder = self.directory / key.trial
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{key.attempt}.out", folder / f"{key.attempt}.err"

    def predictions_file(self, key: AttemptKey) -> Path:
        """Return the file of the attempt's predictions."""
        return self.directory / key.trial / f"{key.attempt}.parquet"

    def fit(self, active: Collection[AttemptKey], unsent: Collection[AttemptKey]) -> None:
        """Delete checkpoints of ended attempts until the rest is within the budget."""
        with self._lock:
            kept = self._kept()
            evicted = evictable(kept, self._budget_bytes, active, unsent)
            for attempt in evicted:
                shutil.rmtree(self.directory / attempt.key.trial / str(attempt.key.attempt), ignore_errors=True)
            num_bytes = sum(attempt.num_bytes for attempt in kept) - sum(attempt.num_bytes for attempt in evicted)
            if num_bytes > self._budget_bytes and not self._has_warned:
                message = "checkpoints of running trials take %.1f GiB, more than --disk-gib allows; none is deleted"
                log.warning(message, num_bytes / 2**30)
            self._has_warned = num_bytes > self._budget_bytes

    def remove_trial(self, trial: str) -> None:
        """Delete the checkpoints of a finished trial."""
        for folder in (self.directory / trial).glob("*/"):
            shutil.rmtree(folder, ignore_errors=True)
        self._remove_if_empty(trial)

    def remove_output(self, key: AttemptKey) -> None:
        """Delete an attempt's stdout and stderr, which the service has."""
        for path in self.output_files(key):
            path.unlink(missing_ok=True)
        self._remove_if_empty(key.trial)

    def remove_predictions(self, key: AttemptKey) -> None:
        """Delete an attempt's predictions, which the service has or declined."""
        self.predictions_file(key).unlink(missing_ok=True)
        self._remove_if_empty(key.trial)

    def clear(self, in_use: Collection[str]) -> None:
        """Delete the files of trials that are not in use and were not modified for a day."""
        limit = time.time() - _LEFTOVER_SECONDS
        for folder in self.directory.glob("*/"):
            if folder.name not in in_use and all(path.stat().st_mtime < limit for path in (folder, *folder.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_if_empty(self, trial: str) -> None:
        try:
            (self.directory / trial).rmdir()
        except OSError:  # files of the trial are still needed
            return

    def _kept(self) -> list[KeptAttempt]:
        kept = []
        for folder in self.directory.glob("*/*/"):
            try:
                stats = [path.stat() for path in folder.iterdir()]
                key = AttemptKey(folder.parent.name, int(folder.name))
            except (OSError, ValueError):  # removed just now, or not a folder of an attempt
                continue
            touched_at = max((stat.st_mtime for stat in stats), default=0.0)
            kept.append(KeptAttempt(key, sum(stat.st_size for stat in stats), touched_at))
        return kept
