"""What this host keeps of attempts: of running ones everything, of ended ones the newest that a budget allows."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.agent.held import AttemptKey

log = logging.getLogger(__name__)

_LEFTOVER_SECONDS = 86_400.0
"""A trial that this host gave back may come again and find its checkpoint here; after a day it is cleared."""


@dataclass(frozen=True)
class Kept:
    """The checkpoints of one attempt on this disk."""

    key: AttemptKey
    num_bytes: int
    touched_at: float


def surplus(
    kept: Iterable[Kept], budget_bytes: int, held: Collection[AttemptKey], unsent: Collection[AttemptKey]
) -> list[Kept]:
    """What has to go for the rest to fit into the budget.

    The oldest first, and before them nothing of which the service has not heard everything (`unsent`). What is `held`
    stays, even where that alone is more than the budget: each training keeps its newest ones.
    """
    left = list(kept)
    total = sum(each.num_bytes for each in left)
    gone = []
    for each in sorted(left, key=lambda each: (each.key in unsent, each.touched_at)):
        if total <= budget_bytes:
            break
        if each.key not in held:
            gone.append(each)
            total -= each.num_bytes
    return gone


def keep_to_owner(path: Path) -> None:
    """Let nobody but its owner read a file that a training process has saved, with the umask of the user's code."""
    with suppress(OSError):  # a newer one may have taken its place by now
        path.chmod(0o600)
        path.with_suffix(".json").chmod(0o600)


class Disk:
    """The directory with a folder per trial: what its attempts print and predict, and folders of their checkpoints."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        self.directory = directory
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._was_told = False

    def folder_of(self, key: AttemptKey) -> Path:
        """Where an attempt saves its checkpoints; nobody else does."""
        folder = self.directory / key.trial / str(key.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def printed_by(self, key: AttemptKey) -> tuple[Path, Path]:
        """The files of what the attempt prints: its stdout and its stderr."""
        folder = self.directory / key.trial
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{key.attempt}.out", folder / f"{key.attempt}.err"

    def predictions_of(self, key: AttemptKey) -> Path:
        """The file of the attempt's predictions."""
        return self.directory / key.trial / f"{key.attempt}.parquet"

    def fit(self, held: Collection[AttemptKey], unsent: Collection[AttemptKey]) -> None:
        """Delete checkpoints of ended attempts until the rest is within the budget."""
        with self._lock:
            kept = self._kept()
            gone = surplus(kept, self._budget_bytes, held, unsent)
            for each in gone:
                shutil.rmtree(self.directory / each.key.trial / str(each.key.attempt), ignore_errors=True)
            left = sum(each.num_bytes for each in kept) - sum(each.num_bytes for each in gone)
            if left > self._budget_bytes and not self._was_told:
                message = "the running trials' checkpoints take %.1f GiB, more than --disk-gib allows; they are kept"
                log.warning(message, left / 2**30)
            self._was_told = left > self._budget_bytes

    def remove_trial(self, trial: str) -> None:
        """Delete the checkpoints of a trial that is over."""
        for folder in (self.directory / trial).glob("*/"):
            shutil.rmtree(folder, ignore_errors=True)
        self._remove_if_empty(trial)

    def remove_printed(self, key: AttemptKey) -> None:
        """Delete what an attempt printed: the service has it."""
        for path in self.printed_by(key):
            path.unlink(missing_ok=True)
        self._remove_if_empty(key.trial)

    def remove_predictions(self, key: AttemptKey) -> None:
        """Delete the attempt's predictions: the service has them, or does not want them."""
        self.predictions_of(key).unlink(missing_ok=True)
        self._remove_if_empty(key.trial)

    def clear(self, in_use: Collection[str]) -> None:
        """Delete what trials left here that are not in use and were not touched for a day."""
        before = time.time() - _LEFTOVER_SECONDS
        for folder in self.directory.glob("*/"):
            if folder.name not in in_use and all(path.stat().st_mtime < before for path in (folder, *folder.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_if_empty(self, trial: str) -> None:
        try:
            (self.directory / trial).rmdir()
        except OSError:  # something of it is still needed
            return

    def _kept(self) -> list[Kept]:
        kept = []
        for folder in self.directory.glob("*/*/"):
            try:
                facts = [path.stat() for path in folder.iterdir()]
                key = AttemptKey(folder.parent.name, int(folder.name))
            except (OSError, ValueError):  # removed this instant, or nothing of ours
                continue
            touched_at = max((each.st_mtime for each in facts), default=0.0)
            kept.append(Kept(key, sum(each.st_size for each in facts), touched_at))
        return kept
