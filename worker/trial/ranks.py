"""A training on several devices: the training process forks one more for each further device, and watches over them.

They are of its process group and end with it. What ends one of them ends the attempt, and says how it is filed.
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

from service.contract.lease import Outcome
from worker.training import GroupBroken
from worker.training.parallel import meeting
from worker.trial.classify import failed
from worker.trial.ending import end_by

T = TypeVar("T")

_GRACE_SECONDS = 5.0
"""How long this process has to notice by itself that another one failed; on GPUs it may wait for that one for ever."""


class RankFailed(Exception):
    """Another process of the training failed; its outcome is the attempt's."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def lead(num: int, folder: Path, work: Callable[[], T], say: Callable[[Outcome], None]) -> T:
    """Do `work` in `num` processes at once, of which this is the first; returns or raises what it does here.

    Called before anything has touched CUDA or started a thread: a fork copies neither. The processes meet in `folder`,
    and share this one's CPU threads. `say` tells the agent an outcome where this process cannot any more.

    Raises:
        RankFailed: another of the processes raised; one that was killed takes this one along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, torch.get_num_threads() // num))
    place = folder / "meeting"
    place.unlink(missing_ok=True)

    def take_part(rank: int) -> T:
        with meeting(place, rank, num):
            return work()

    others = [_fork(rank, take_part) for rank in range(1, num)]
    with _Watch(others, say) as watch:
        try:
            return take_part(0)
        except GroupBroken:
            watch.end_as_they_did()
            raise


@dataclass(frozen=True)
class _Other:
    """Another process of the training, and the pipe by which it tells the outcome that it failed with."""

    pid: int
    last_words: int


def _fork(rank: int, take_part: Callable[[int], object]) -> _Other:
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _become(rank, take_part, write)
    os.close(write)
    return _Other(pid, read)


def _become(rank: int, take_part: Callable[[int], object], last_words: int) -> Never:
    try:
        take_part(rank)
    except GroupBroken:
        pass  # of that another one is the cause
    except BaseException as error:  # nothing may return into the first process's own work
        traceback.print_exc()
        os.write(last_words, failed(error).model_dump_json().encode())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)


class _Watch:
    """Waits in a thread of its own for the first of the others to fail; ends this process where it does not itself."""

    def __init__(self, others: Sequence[_Other], say: Callable[[Outcome], None]) -> None:
        self._others = others
        self._say = say
        self._failed = threading.Event()
        self._over = threading.Event()
        self._cause: Outcome | int | None = None
        """What the first one failed with, or the signal that ended it."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="ranks", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def end_as_they_did(self) -> None:
        """End by the signal, or raise RankFailed with the outcome, of the one that failed; returns if none did."""
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


def _cause(other: _Other) -> Outcome | int | None:
    """What a process that has said its last failed with, or the signal that ended it; none: it ended well."""
    with os.fdopen(other.last_words, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(other.pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return Outcome.model_validate_json(said) if said else None
