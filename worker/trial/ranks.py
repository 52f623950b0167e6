"""Training on several devices: the training process forks one more process per further device and supervises them.

All processes are in one process group and end together. The process that fails first ends the attempt and determines
its outcome.
"""

from __future__ import annotations

import os
import selectors
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Never, Self, TypeVar

import torch

from service.contract.attempt import Outcome
from worker.training import ProcessGroupError
from worker.training.distributed.group import rendezvous
from worker.trial.classify import failed
from worker.trial.ending import end_by

T = TypeVar("T")

_GRACE_SECONDS = 5.0
"""How long this process has to notice itself that another one failed; on GPUs it may wait for that one forever."""


class RankFailed(Exception):
    """Another process of the training failed; its outcome is the attempt's."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def launch(num: int, folder: Path, work: Callable[[], T], say: Callable[[Outcome], None]) -> T:
    """Run `work` in `num` processes at once, of which this is the first.

    Call it before anything has initialised CUDA or started a thread, because a fork copies neither.

    Args:
        num: The number of processes; they share this process's CPU threads.
        folder: Where the file for the rendezvous of the processes is created.
        work: Called in each process.
        say: Called with the outcome of another process that failed, if this process hangs and cannot raise it.

    Returns:
        What `work` returns in this process.

    Raises:
        RankFailed: Another process raised. If another process was killed by a signal, this process ends by it too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, torch.get_num_threads() // num))
    place = folder / "meeting"
    place.unlink(missing_ok=True)

    def take_part(rank: int) -> T:
        with rendezvous(place, rank, num):
            return work()

    others = [_fork(rank, take_part) for rank in range(1, num)]
    with _Watch(others, say) as watch:
        try:
            return take_part(0)
        except ProcessGroupError:
            watch.end_as_they_did()
            raise


@dataclass(frozen=True)
class _PeerProcess:
    """Another process of the training, and the pipe through which it sends the outcome if it fails."""

    pid: int
    last_words: int


def _fork(rank: int, take_part: Callable[[int], object]) -> _PeerProcess:
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _become(rank, take_part, write)
    os.close(write)
    return _PeerProcess(pid, read)


def _become(rank: int, take_part: Callable[[int], object], last_words: int) -> Never:
    try:
        take_part(rank)
    except ProcessGroupError:
        pass  # another process is the cause
    except BaseException as error:  # nothing may propagate into the first process's code
        traceback.print_exc()
        os.write(last_words, failed(error).model_dump_json().encode())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)


class _Watch:
    """A thread that waits for the first other process to fail, and ends this process if it does not end by itself."""

    def __init__(self, others: Sequence[_PeerProcess], say: Callable[[Outcome], None]) -> None:
        self._others = others
        self._say = say
        self._failed = threading.Event()
        self._over = threading.Event()
        self._cause: Outcome | int | None = None
        """The outcome of the process that failed first, or the number of the signal that ended it."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="ranks", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def end_as_they_did(self) -> None:
        """End by the signal that ended another process, or raise RankFailed with its outcome; return if none failed."""
        self._failed.wait(_GRACE_SECONDS)
        match self._cause:
            case int() as number:
                end_by(number)
            case Outcome() as outcome:
                raise RankFailed(outcome)

    def _look(self) -> None:
        with selectors.DefaultSelector() as selector:
            for other in self._others:
                selector.register(other.last_words, selectors.EVENT_READ, other)
            while selector.get_map():
                for key, _ in selector.select():
                    selector.unregister(key.fileobj)
                    if (cause := _cause(key.data)) is not None:
                        self._cause = cause
                        self._failed.set()
                        if not self._over.wait(2 * _GRACE_SECONDS):
                            self._end(cause)
                        return

    def _end(self, cause: Outcome | int) -> None:
        if isinstance(cause, int):
            end_by(cause)
        else:
            self._say(cause)
        os._exit(1)


def _cause(other: _PeerProcess) -> Outcome | int | None:
    """Return the outcome or signal that another process failed with, after its pipe closed; None if it succeeded."""
    with os.fdopen(other.last_words, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(other.pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return Outcome.model_validate_json(said) if said else None
